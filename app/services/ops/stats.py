"""How the whole place stands: the queue, the workers, the models, and whether it is ready for work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.catalog import LANES, Lane, ModelSpec
from app.core.job import Job, JobStatus
from app.core.tasks import Task
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator, Speeds
from app.services.jobs.status import JobView, prediction_of
from app.services.models.capabilities import known_spec, tasks_of
from app.services.models.model_files import Download, ModelFiles, downloads, files_of
from app.store.queue.workers import ready_models

_LANE_OPTION = {"local": "", "remote": " --lane remote"}


@dataclass(frozen=True)
class QueueStats:
    """`waiting` are the heads of both lines, first served first. `speeds` are learned seconds by model and bucket."""

    counts: Mapping[JobStatus, int]
    running: Sequence[JobView]
    waiting: Sequence[JobView]
    speeds: Speeds
    workers: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class ModelState:
    """`loaded`: a live worker holds it in memory. `downloading`: how far its download is, if it is fetched just now."""

    spec: ModelSpec
    tasks: Sequence[Task]
    files: ModelFiles
    loaded: bool
    downloading: Download | None


@dataclass(frozen=True)
class Summary:
    """`images` are the `{"count", "bytes"}` of everything published."""

    counts: Mapping[JobStatus, int]
    workers: Sequence[dict[str, Any]]
    lanes: Mapping[Lane, LaneState]
    images: Mapping[str, int]
    free_bytes: int


@dataclass(frozen=True)
class LaneState:
    """`slots` is how many jobs its live workers run at a time."""

    workers: int
    slots: int
    waiting: int
    running: int


@dataclass(frozen=True)
class Readiness:
    """`checks` says of each check "ok" or what is wrong; `ready` is whether all of them are ok."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        return all(state == "ok" for state in self.checks.values())


def queue(context: AppContext, *, owner: str | None = None, limit: int = 50) -> QueueStats:
    """`owner` narrows the jobs to theirs; counts and places are of the whole line all the same."""
    estimator = EtaEstimator(context)
    running = [job for job in estimator.running if owner in (None, job.client_id)]
    line = [waits for lane in LANES for waits in _waiting(context, estimator, lane, owner, limit)]
    return QueueStats(
        counts=context.jobs.counts(),
        running=[JobView(job, None, estimator.eta(job, None), (), prediction_of(context, job)) for job in running],
        waiting=[JobView(job, place, estimator.eta(job, place), ()) for place, job in line],
        speeds=estimator.speeds,
        workers=_workers_for(owner, estimator.workers, running),
    )


def _waiting(
    context: AppContext, estimator: EtaEstimator, lane: Lane, owner: str | None, limit: int
) -> Iterator[tuple[int, Job]]:
    """The head of a line, or the first jobs of `owner` in it, with their places."""
    head = estimator.line(lane).waiting
    if owner is None:
        yield from enumerate(head[:limit], start=1)
        return
    places = {job.id: place for place, job in enumerate(head, start=1)}
    for job in context.jobs.waiting(limit, owner, lane=lane):
        place = places.get(job.id) or context.jobs.position(job)
        if place is not None:
            yield place, job


def _workers_for(
    owner: str | None, workers: Sequence[dict[str, Any]], running: Sequence[Job]
) -> Sequence[dict[str, Any]]:
    """What workers work on is nobody's business but its owner's."""
    if owner is None:
        return workers
    own = {job.id for job in running if job.client_id == owner}
    return [{**worker, "job_id": worker["job_id"] if worker["job_id"] in own else None} for worker in workers]


def summary(context: AppContext, *, owner: str | None = None) -> Summary:
    """`owner` sees only their own jobs at the workers."""
    workers = context.workers.live()
    return Summary(
        counts=context.jobs.counts(),
        workers=_workers_for(owner, workers, context.jobs.running() if owner else ()),
        lanes=lanes(workers, context.jobs.counts_by_lane()),
        images=context.outputs.totals(),
        free_bytes=context.images.free_bytes(),
    )


def lanes(workers: Sequence[Mapping[str, Any]], counts: Mapping[tuple[Lane, JobStatus], int]) -> dict[Lane, LaneState]:
    """What each lane has to do, and with how many `workers` of which kind."""
    return {
        lane: LaneState(
            workers=sum(worker["lane"] == lane for worker in workers),
            slots=sum(worker["slots"] for worker in workers if worker["lane"] == lane),
            waiting=counts.get((lane, JobStatus.PENDING), 0),
            running=counts.get((lane, JobStatus.PROCESSING), 0),
        )
        for lane in LANES
    }


def models(context: AppContext) -> list[ModelState]:
    loaded = {model_id for worker in context.workers.live() for model_id in ready_models(worker)}
    under_way = downloads(context)
    return [
        ModelState(
            spec=known_spec(context, spec),
            tasks=tasks_of(context, spec),
            files=files_of(context, spec),
            loaded=spec.id in loaded,
            downloading=under_way.get(spec.id),
        )
        for spec in context.catalog
    ]


def readiness(context: AppContext) -> Readiness:
    """Whether a job that is sent now, and names no model, will be worked on.

    So a machine where only the remote lane lives is ready when its default model is a remote one. What each lane can do
    is in `lanes`.
    """
    checks = {"database": "ok", "workers": "ok", "disk": "ok"}
    if context.database.read_only:
        checks["database"] = "read-only; check its disk and who may write there"
    lane = context.catalog.get(None).lane
    if not any(worker["lane"] == lane for worker in context.workers.live()):
        checks["workers"] = (
            f"no live worker for the default model; start one with: python worker.py{_LANE_OPTION[lane]}"
        )
    if context.images.free_bytes() < context.settings.disk_floor_bytes:
        checks["disk"] = "less free space than DISK_FLOOR_BYTES; delete pictures or lower the floor"
    return Readiness(checks)

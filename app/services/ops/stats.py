"""State of the installation: queue, workers, models, readiness."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.catalog import GROUPS, LANES, Lane, ModelSpec
from app.core.fit import Fit
from app.core.job import Job, JobStatus, JobView
from app.core.needs import Needs
from app.core.tasks import Task
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator, Speeds
from app.services.jobs.status import prediction_of
from app.services.media.disk import disk_problem
from app.services.models import auxiliaries
from app.services.models.capabilities import known_spec, tasks_of_known
from app.services.models.fits import fits, fits_beside
from app.services.models.fleet import Fleet, fleet_of, informed, live_workers
from app.services.models.model_files import Download, ModelFiles, downloads, files_of
from app.services.models.runnable import waits_for_needs
from app.services.ops.devices import device_counts
from app.store.queue.workers import ready_models

_LANE_OPTION = {"local": "", "remote": " --lane remote"}


@dataclass(frozen=True)
class QueueStats:
    """`waiting`: the first jobs of both lanes, next one first. `speeds`: measured seconds by model and bucket."""

    counts: Mapping[JobStatus, int]
    running: Sequence[JobView]
    waiting: Sequence[JobView]
    speeds: Speeds
    workers: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class ModelState:
    """`loaded`: in memory of a live worker; `memory_plans`: form of its weights and placement there, such as
    `float8, model`, each way once; `killed_plans`: plans under which the kernel killed a worker. `downloading`:
    progress of its download, if one is running. `roles` of input pictures that it takes, by itself or with the
    auxiliary models that fit; `fits_with`: whether it fits the machine together with each of those, by id."""

    spec: ModelSpec
    tasks: Sequence[Task]
    files: ModelFiles
    loaded: bool
    memory_plans: Sequence[str]
    killed_plans: Sequence[str]
    downloading: Download | None
    fit: Fit
    roles: Sequence[str] = ()
    control_models: Sequence[str] = ()
    reference_models: Sequence[str] = ()
    fits_with: Mapping[str, Fit] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """Its place in a list: what is here first, then group by group, in each what does not fit at the end."""
        return not self.files.available, GROUPS.index(self.spec.group), self.fit.answer == "no"


@dataclass(frozen=True)
class Summary:
    """`images`: the `{"count", "bytes"}` of all published outputs; `disk_percent`: use of their disk, 0 to 100.
    `free_bytes` and `disk_percent` are None where the media store has no bound."""

    counts: Mapping[JobStatus, int]
    workers: Sequence[dict[str, Any]]
    lanes: Mapping[Lane, LaneState]
    images: Mapping[str, int]
    free_bytes: int | None
    disk_percent: float | None


@dataclass(frozen=True)
class LaneState:
    """`slots`: how many jobs the lane's live workers can run at a time."""

    workers: int
    slots: int
    waiting: int
    running: int


@dataclass(frozen=True)
class Readiness:
    """`checks`: "ok" or the problem, by check. `ready`: all are ok. The `partial` ones do not count: something is
    wrong there, and jobs run all the same."""

    checks: Mapping[str, str]
    partial: frozenset[str] = frozenset()

    @property
    def ready(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> Mapping[str, str]:
        """The checks that are in the way of a job."""
        return {name: state for name, state in self.checks.items() if state != "ok" and name not in self.partial}


def queue(context: AppContext, *, owner: str | None = None, limit: int = 50) -> QueueStats:
    """`owner` limits the jobs to this client; counts and positions are of the whole queue all the same."""
    estimator = EtaEstimator(context)
    running = [job for job in estimator.running if owner in (None, job.client_id)]
    line = [waits for lane in LANES for waits in _waiting(context, estimator, lane, owner, limit)]
    return QueueStats(
        counts=context.jobs.counts(),
        running=[JobView(job, None, estimator.eta(job, None), (), prediction_of(context, job)) for job in running],
        waiting=[
            JobView(job, place, estimator.eta(job, place), (), None, estimator.waits_for(job)) for place, job in line
        ],
        speeds=estimator.speeds,
        workers=_workers_for(owner, _with_abilities(context, estimator.workers), running),
    )


def _waiting(
    context: AppContext, estimator: EtaEstimator, lane: Lane, owner: str | None, limit: int
) -> Iterator[tuple[int, Job]]:
    """The first jobs in the lane's queue (of `owner`, if given), with their positions."""
    head = estimator.line(lane).waiting
    if owner is None:
        yield from enumerate(head[:limit], start=1)
        return
    places = {job.id: place for place, job in enumerate(head, start=1)}
    for job in context.jobs.waiting(limit, owner, lane=lane):
        place = places.get(job.id) or context.jobs.position(job)
        if place is not None:
            yield place, job


def _with_abilities(context: AppContext, workers: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The rows, each with what its worker can run as `can_run`."""
    able = live_workers(context, workers)
    return [{**row, "can_run": worker.capabilities} for row, worker in zip(workers, able, strict=True)]


def _workers_for(
    owner: str | None, workers: Sequence[dict[str, Any]], running: Sequence[Job]
) -> Sequence[dict[str, Any]]:
    """The workers; with `owner`, only the owner's job ids are included."""
    if owner is None:
        return workers
    own = {job.id for job in running if job.client_id == owner}
    return [{**worker, "job_id": worker["job_id"] if worker["job_id"] in own else None} for worker in workers]


def summary(context: AppContext, *, owner: str | None = None) -> Summary:
    """With `owner`, workers show only this client's jobs."""
    workers = context.workers.live()
    return Summary(
        counts=context.jobs.counts(),
        workers=_workers_for(owner, _with_abilities(context, workers), context.jobs.running() if owner else ()),
        lanes=lanes(workers, context.jobs.counts_by_lane()),
        images=context.outputs.totals(),
        free_bytes=context.images.free_bytes(),
        disk_percent=context.images.used_percent(),
    )


def lanes(workers: Sequence[Mapping[str, Any]], counts: Mapping[tuple[Lane, JobStatus], int]) -> dict[Lane, LaneState]:
    """Queue counts and worker capacity of each lane."""
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
    """All models of the catalogue, those that are here first."""
    workers = _with_abilities(context, context.workers.live())
    loaded = {model_id for worker in workers for model_id in ready_models(worker)}
    plans = _memory_plans(workers)
    killed = context.memory_plans.all_killed()
    under_way = downloads(context)
    fleets = {lane: fleet_of(context, lane) for lane in LANES}
    specs = [known_spec(context, informed(context, fleets[spec.lane], spec)) for spec in context.catalog]
    fitting = fits(context, specs, workers)
    known = auxiliaries.listing(context)
    states = [
        ModelState(
            spec=spec,
            tasks=tasks_of_known(spec),
            files=_files_of(context, fleets[spec.lane], spec),
            loaded=spec.id in loaded,
            memory_plans=sorted(plans.get(spec.id, ())),
            killed_plans=sorted(killed.get(spec.id, ())),
            downloading=under_way.get(spec.id),
            fit=fitting[spec.id],
            **_inputs_of(context, spec, known, workers),
        )
        for spec in specs
    ]
    return sorted(states, key=lambda state: state.rank)


def _files_of(context: AppContext, fleet: Fleet, spec: ModelSpec) -> ModelFiles:
    """Those here; `available` also if a worker has them on its disk."""
    found = files_of(context, spec)
    return replace(found, available=found.available or fleet.has_files(spec.id))


def _inputs_of(
    context: AppContext,
    spec: ModelSpec,
    known: Sequence[auxiliaries.KnownAuxiliary],
    workers: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    base = auxiliaries.base_of(context, spec)
    controls, references = (auxiliaries.ids_for(base, known, role) for role in ("control", "reference"))
    beside = [each for each in known if each.spec.id in {*controls, *references}]
    return {
        "roles": auxiliaries.roles_of(base, tasks_of_known(spec), known),
        "control_models": controls,
        "reference_models": references,
        "fits_with": fits_beside(context, spec, beside, workers) if beside else {},
    }


@dataclass(frozen=True)
class AuxiliaryState:
    """An auxiliary model; `loaded`: in memory of a live worker."""

    known: auxiliaries.KnownAuxiliary
    loaded: bool


def auxiliary_models(context: AppContext) -> list[AuxiliaryState]:
    """The ControlNets, adapters and detectors of the catalogue."""
    loaded = {model_id for worker in context.workers.live() for model_id in ready_models(worker)}
    return [AuxiliaryState(each, each.spec.id in loaded) for each in auxiliaries.listing(context)]


def _default_waits_for(context: AppContext, workers: Sequence[Mapping[str, Any]], lane: Lane) -> str | None:
    """What no live worker has that the default model needs; None if one can run it."""
    spec = context.catalog.get(None)
    needs = Needs(spec.id) if lane == "local" else Needs(spec.id if spec.source == "engine" else "", source=spec.source)
    return waits_for_needs(live_workers(context, [row for row in workers if row["lane"] == lane]), needs)


def _memory_plans(workers: Sequence[dict[str, Any]]) -> Mapping[str, Collection[str]]:
    """The ways in which `workers` hold their models, by model id."""
    found: dict[str, set[str]] = {}
    for worker in workers:
        ready = ready_models(worker)
        for model in worker["models"]:
            if model["model_id"] in ready and model.get("form"):
                found.setdefault(model["model_id"], set()).add(f"{model['form']}, {model['offload']}")
    return found


def readiness(context: AppContext) -> Readiness:
    """Whether a job sent now for the default model would be run.

    So an installation with only the remote lane is ready if its default model is remote. `lanes` has the state of each
    lane.
    """
    workers = context.workers.live()
    devices = device_counts(workers)
    checks = {"database": "ok", "workers": "ok", "devices": devices.sentence, "disk": "ok"}
    if context.database.read_only:
        checks["database"] = "read-only; check free space on its disk and the file permissions"
    lane = context.catalog.get(None).lane
    states = {worker["state"] for worker in workers if worker["lane"] == lane}
    if not states:
        checks["workers"] = (
            f"no live worker for the default model; start one with: python worker.py{_LANE_OPTION[lane]}"
        )
    elif (waiting := _default_waits_for(context, workers, lane)) is not None:
        checks["workers"] = f"the default model waits for {waiting}; put the files there, or set DEFAULT_MODEL_ID"
    elif states == {"starting"}:
        checks["workers"] = "starting: libraries are imported and models loaded, as PRELOAD says; jobs wait meanwhile"
    if problem := disk_problem(context):
        checks["disk"] = problem
    needless = devices.working > 0 or lane == "remote"
    return Readiness(checks, frozenset({"devices"}) if needless else frozenset())

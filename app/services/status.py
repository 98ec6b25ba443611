"""How a job stands: its row, its place in line, when it should be done, and what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.job import Job, JobStatus, Phase
from app.core.output import Output
from app.services.installation import Installation
from app.store.speeds import LOAD, speed_bucket

Speeds = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class JobView:
    """`position` is 1 for the next job, None unless waiting. `eta_seconds` is until it is done, None when unknown."""

    job: Job
    position: int | None
    eta_seconds: float | None
    outputs: Sequence[Output]


def view(installation: Installation, job_id: str) -> JobView:
    """Raises JobNotFound or Gone."""
    return view_of(installation, installation.jobs.get(job_id))


def view_of(installation: Installation, job: Job) -> JobView:
    if job.status.terminal:
        made = installation.outputs.of_job(job.id) if job.status is JobStatus.COMPLETED else ()
        return JobView(job, None, None, made)
    position = installation.jobs.position(job)
    return JobView(job, position, _eta(installation, job, position), ())


def _eta(installation: Installation, job: Job, position: int | None) -> float | None:
    """Seconds until `job` is done: its own time plus that of the jobs ahead, shared among the live workers."""
    speeds = installation.speeds.all()
    own = expected_seconds(job, speeds)
    if own is None:
        return None
    if position is None:
        return round(max(0.0, own * (1 - _fraction_done(job))), 1)
    workers = len(installation.workers.live())
    if not workers:
        return None
    running = [(other, expected_seconds(other, speeds)) for other in installation.jobs.running()]
    ahead = sum((seconds or own) * (1 - _fraction_done(other)) for other, seconds in running)
    for other in installation.jobs.waiting(limit=min(position, 200)):
        if other.id != job.id:
            ahead += expected_seconds(other, speeds) or own
    ahead += max(0, position - 200) * own
    return round(ahead / workers + own, 1)


def expected_seconds(job: Job, speeds: Speeds) -> float | None:
    """How long the job takes once its model is loaded; None when nothing like it has finished yet."""
    per_picture = speeds.get((job.request.model_id, speed_bucket(job.request)))
    if per_picture is None:
        return None
    loading = job.progress.phase in (Phase.DOWNLOADING, Phase.LOADING)
    return per_picture * job.request.num_images + (speeds.get((job.request.model_id, LOAD), 0.0) if loading else 0.0)


def _fraction_done(job: Job) -> float:
    return job.progress.percent / 100

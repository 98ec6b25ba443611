"""Status of a job: its row, queue position, estimated end and outputs. Its JSON is made by `services/job_body.py`."""

from __future__ import annotations

from app.core.catalog import Media
from app.core.job import Job, JobStatus, JobView
from app.core.output import Output
from app.core.prediction import Prediction
from app.errors import ImageNotFound, JobNotFound
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.media.gallery import media_of


def view(context: AppContext, job_id: str, estimator: EtaEstimator | None = None) -> JobView:
    """`estimator` may be passed in by callers that poll often. Raises JobNotFound or Gone."""
    return view_of(context, context.jobs.get(job_id), estimator)


def prediction_of(context: AppContext, job: Job) -> Prediction | None:
    """The provider prediction of `job`, if it has one."""
    return None if job.request.remote is None else context.predictions.of_job(job.id)


def view_of(context: AppContext, job: Job, estimator: EtaEstimator | None = None) -> JobView:
    prediction = prediction_of(context, job)
    if job.status.terminal:
        made = context.outputs.of_job(job.id) if job.status is JobStatus.COMPLETED else ()
        return JobView(job, None, None, made, prediction)
    position = context.jobs.position(job)
    estimator = estimator or EtaEstimator(context)
    return JobView(job, position, estimator.eta(job, position), (), prediction, estimator.waits_for(job))


def view_by_any_id(context: AppContext, an_id: str, media: Media) -> tuple[JobView, Output | None]:
    """The job with this id, or the one that made the output with this id, and that output. Raises JobNotFound or Gone,
    also for one that does not make `media`."""
    output = None
    try:
        found = view(context, an_id)
    except JobNotFound:
        output = _output(context, an_id)
        found = view(context, output.job_id)
    if media != (found.outputs[0].media if found.outputs else media_of(context, found.job)):
        other = "videos" if media == "image" else "images"
        raise JobNotFound(f"There is no {media} with this id: the generation is one of {other}. Ask at /api/{other}.")
    return found, output


def _output(context: AppContext, an_id: str) -> Output:
    try:
        return context.outputs.get(an_id)
    except ImageNotFound:
        raise JobNotFound("There is no generation with this id.") from None

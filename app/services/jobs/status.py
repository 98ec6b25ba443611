"""Status of a job: its row, queue position, estimated end and outputs. Its JSON is made by `services/job_body.py`."""

from __future__ import annotations

from app.core.job import Job, JobStatus, JobView
from app.core.prediction import Prediction
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator


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
    return JobView(job, position, (estimator or EtaEstimator(context)).eta(job, position), (), prediction)

"""Change one's mind about a job: cancel it, or try it again."""

from __future__ import annotations

from app.core.job import Job, JobStatus
from app.core.request import spec_for
from app.errors import Conflict, UnknownModel
from app.services.context import AppContext
from app.services.jobs.status import JobView, view_of
from app.services.models.capabilities import check_task
from app.services.models.loras import check_loras
from app.services.models.model_files import files_of


def cancel(context: AppContext, job_id: str) -> JobView:
    """A waiting job is CANCELLED at once; a running one stops at its next step. Raises JobNotFound, Gone, Conflict."""
    return _changed(context, view_of(context, context.jobs.cancel(job_id)))


def retry(context: AppContext, job_id: str) -> JobView:
    """A FAILED or CANCELLED job goes back in line, with fresh attempts. Raises JobNotFound, Gone, Conflict, and what
    says that it could only fail again: UnknownModel, UnsupportedTask, LoraUnavailable, LoraIncompatible."""
    _check_can_run(context, context.jobs.get(job_id))
    job = context.jobs.retry(job_id, max_attempts=context.settings.max_attempts)
    return _changed(context, view_of(context, job))


def _check_can_run(context: AppContext, job: Job) -> None:
    """Whether the job's model and LoRAs, and what it asks of them, are still here. Others say no by their state."""
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return
    request = job.request
    try:
        spec = spec_for(context.catalog, request)
    except UnknownModel:
        raise UnknownModel(
            f"The job's model {request.model_id} is not in the catalogue any more. Add its MODEL_ line, or send the"
            " prompt to another model."
        ) from None
    if spec.source == "local" and not files_of(context, spec).available:
        raise Conflict(f"The files of {spec.id} are not there any more. Put them back, or choose another model.")
    if request.remote is None:
        check_task(context, spec, request.task)
        check_loras(context, spec, request.loras)


def _changed(context: AppContext, view: JobView) -> JobView:
    context.notifications.ring("work")
    context.notifications.ring("news", view.job.id)
    return view

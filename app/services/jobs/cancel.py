"""Cancel a job, or retry an ended one."""

from __future__ import annotations

from app.core.job import Job, JobStatus, JobView
from app.core.request import spec_for
from app.errors import Conflict, UnknownModel
from app.services.context import AppContext
from app.services.jobs.status import view_of
from app.services.models.capabilities import check_task
from app.services.models.fleet import fleet_of, informed
from app.services.models.loras import check_loras
from app.services.models.model_files import files_of
from app.services.models.runnable import check_runnable
from app.services.remote.spending import charge_for


def cancel(context: AppContext, job_id: str) -> JobView:
    """Cancel a job: at once if waiting, at the next step if running. Raises JobNotFound, Gone, Conflict."""
    return _changed(context, view_of(context, context.jobs.cancel(job_id)))


def retry(context: AppContext, job_id: str) -> JobView:
    """Put a FAILED or CANCELLED job back in the queue, with fresh attempts. Raises JobNotFound, Gone, Conflict, and if
    it could only fail again: UnknownModel, UnsupportedTask, LoraUnavailable, LoraIncompatible, NoCapableWorker;
    SpendLimit if it would be paid for again and the client may not spend more today, InvalidRequest if its batch may
    not; QueueFull."""
    known = context.jobs.get(job_id)
    check_can_run(context, known)
    charge = None
    if known.request.remote is not None:
        charge = charge_for(context, spec_for(context.catalog, known.request), known.request)
    settings = context.settings
    job = context.jobs.retry(
        job_id, max_attempts=settings.max_attempts, charge=charge, most_pending=settings.queue_max_pending
    )
    return _changed(context, view_of(context, job))


def check_can_run(context: AppContext, job: Job) -> None:
    """Raise if the job's model, task or LoRAs are no longer available. Jobs in other states are left to `retry`."""
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return
    request = job.request
    try:
        spec = spec_for(context.catalog, request)
    except UnknownModel:
        raise UnknownModel(
            f"The job's model {request.model_id} is no longer in the catalogue. Add its MODEL_ line, or send the"
            " prompt to another model."
        ) from None
    fleet = fleet_of(context, spec.lane)
    if spec.source == "local" and not files_of(context, spec).available and not fleet.has_model(spec.id):
        raise Conflict(f"The files of {spec.id} are missing. Restore them, or choose another model.")
    if request.remote is None:
        spec = informed(context, fleet, spec)
        check_task(context, spec, request.task)
        check_loras(context, spec, request.loras, fleet)
    check_runnable(context, fleet, request)


def _changed(context: AppContext, view: JobView) -> JobView:
    context.notifications.publish("work")
    context.notifications.publish("news", view.job.id)
    return view

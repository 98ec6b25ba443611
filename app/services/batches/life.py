"""Pause, resume, cancel and retry a batch; and what maintenance does for all: tell progress, end what is too late."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from app.core.batches.batch import Batch
from app.core.job import Job
from app.core.needs import needs_of
from app.core.request import spec_for
from app.core.spending import Charge
from app.errors import Conflict, CyberImageError
from app.services.batches.view import message
from app.services.context import AppContext
from app.services.jobs.cancel import check_can_run
from app.services.remote.spending import charge_for
from app.store.queue.batch_limits import check_retries

log = logging.getLogger("cyberimage.maintenance")


def pause(context: AppContext, batch_id: str) -> None:
    """Keep the waiting jobs waiting. Raises BatchNotFound, Gone, Conflict, and QueueFull if the client has paused too
    many jobs."""
    _open(context, batch_id)
    context.batch_changes.pause(batch_id, most_paused=context.settings.queue_max_pending)
    _changed(context, batch_id)


def resume(context: AppContext, batch_id: str) -> None:
    """Let a paused batch go on, at the end of its client's queue. Raises BatchNotFound, Gone, Conflict, QueueFull."""
    _open(context, batch_id)
    context.batch_changes.resume(batch_id, most_pending=context.settings.queue_max_pending)
    _changed(context, batch_id)


def prioritise(context: AppContext, batch_id: str, priority: int) -> None:
    """Raises BatchNotFound, Gone, Conflict."""
    _open(context, batch_id)
    context.batch_changes.prioritise(batch_id, priority)
    _changed(context, batch_id)


def cancel(context: AppContext, batch_id: str) -> None:
    """Cancel what waits, and stop what runs; once more changes nothing. Raises BatchNotFound, Gone, Conflict."""
    batch = context.batches.get(batch_id)
    if not context.batch_changes.cancel(batch_id) and batch.stopped is None:
        raise Conflict("All jobs of the batch have ended; there is nothing to cancel.")
    _changed(context, batch_id)


def retry_failed(context: AppContext, batch_id: str, *, cancelled: bool = False) -> int:
    """Put FAILED jobs back in the queue, with `cancelled` also CANCELLED ones. Returns how many.

    Raises BatchNotFound, Gone, Conflict if there is none or the deadline has passed, QueueFull, InvalidRequest if the
    retries cost too much, and what retrying one of the jobs would raise: no job is put back then that could only fail
    again.
    """
    batch = context.batches.get(batch_id)
    portions = [
        [context.jobs.get(job_id) for job_id in portion]
        for portion in context.batch_changes.unsuccessful(batch_id, cancelled=cancelled)
    ]
    if not portions:
        raise Conflict("No job of the batch has failed.")
    jobs = [job for portion in portions for job in portion]
    context.batch_changes.check_in_time(batch_id)
    _check_room(context, batch, jobs)
    charges = _charges(context, jobs)
    check_retries(_most_price(context, charges), batch)
    settings, number = context.settings, 0
    for portion in portions:
        some = {job.id: charges[job.id] for job in portion}
        most = {"max_attempts": settings.max_attempts, "most_pending": settings.queue_max_pending}
        number += len(context.jobs.retry_many(some, **most))
    _changed(context, batch_id)
    return number


def _check_room(context: AppContext, batch: Batch, jobs: Sequence[Job]) -> None:
    """Of all portions, so that none is put back when the others find no room. Raises QueueFull."""
    most, paused = context.settings.queue_max_pending, sum(job.paused for job in jobs)
    context.jobs.check_room(len(jobs) - paused, most)
    context.jobs.check_room(paused, most, paused_of=batch.owner)


def _most_price(context: AppContext, charges: Mapping[str, Charge | None]) -> float:
    """What the retries cost at most: no less than what the store will charge."""
    prices = {job_id: charge.price for job_id, charge in charges.items() if charge is not None}
    return sum(prices[job_id] for job_id in context.predictions.asked_before(list(prices)))


def _charges(context: AppContext, jobs: Sequence[Job]) -> dict[str, Charge | None]:
    """What each retry may cost. Each kind of job is checked once."""
    checked: set[tuple[object, ...]] = set()
    found: dict[str, Charge | None] = {}
    for job in jobs:
        kind = (job.request.model_id, job.request.task, job.request.loras, needs_of(job.request).key)
        if kind not in checked:
            check_can_run(context, job)
            checked.add(kind)
        remote = job.request.remote is not None
        found[job.id] = charge_for(context, spec_for(context.catalog, job.request), job.request) if remote else None
    return found


def _open(context: AppContext, batch_id: str) -> Batch:
    batch = context.batches.get(batch_id)
    if not batch.open:
        raise Conflict("All jobs of the batch have ended.")
    return batch


def _changed(context: AppContext, batch_id: str) -> None:
    context.notifications.publish("work")
    context.notifications.publish("news", batch_id)


def keep_up(context: AppContext) -> None:
    """Cancel what is past its deadline, and tell how far each batch has come. Any process may do it at any time."""
    for batch_id in context.batch_progress.past_deadline():
        if number := context.batch_changes.cancel(batch_id, "deadline"):
            log.warning("Batch %s has used up its max_seconds: %s jobs are cancelled", batch_id, number)
            _changed(context, batch_id)
    for batch in context.batches.open():
        try:
            if context.batch_progress.note(batch, lambda of, event: message(of, event, time.time())):
                context.notifications.publish("news", batch.id)
        except CyberImageError as error:
            log.error("The progress of batch %s could not be told: %s", batch.id, error)

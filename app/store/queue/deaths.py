"""Deaths of workers, as their supervisor saw them: recorded, and the jobs of the dead worker freed at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, delete, select, union, update

from app.core.deaths import Death
from app.core.job import JobStatus
from app.core.load_requests import LoadState
from app.errors import GenerationTimeout, WorkerDied
from app.store.db.database import Database, now
from app.store.db.schema import PROCESSING, jobs, load_requests, worker_deaths, workers
from app.store.db.upsert import insert_into
from app.store.ops.counters import Counter, count
from app.store.ops.memory_plans import end_plans
from app.store.queue.lease_expiry import TIMED_OUT, backoff_after, status_after_failure
from app.store.queue.outbox import WebhookRenderer, enqueue_webhooks
from app.store.queue.rows import job_from_row

KEPT_SECONDS = 30 * 86400.0


class DeathStore:
    """`render_webhook` makes the webhook message about a job that has ended."""

    def __init__(self, database: Database, *, render_webhook: WebhookRenderer) -> None:
        self._database = database
        self._render = render_webhook

    def record(self, worker_id: str, death: Death) -> Sequence[Row[Any]]:
        """Record the death of a worker and take its jobs from it; the attempts count. Returns the rows of the jobs.

        After a death for lack of memory the memory plans of the models that it ran are recorded as killed.

        Only for a process that has certainly ended. Only jobs of this very worker are touched, so that recording it
        late, or twice, does no harm."""
        with self._database.write() as connection:
            plans = _end_plans(connection, worker_id, death)
            _record(connection, worker_id, death, plans)
            freed = _free_jobs(connection, worker_id, f"{WorkerDied.title}: {death.sentence}.{plans}")
            for row in freed:
                enqueue_webhooks(connection, job_from_row(row), render=self._render)
        return freed


def _end_plans(connection: Connection, worker_id: str, death: Death) -> str:
    """End the memory plans of a dead worker. Returns sentences about those that the kernel killed it for."""
    running = _models_run(connection, worker_id) if death.cause == "out_of_memory" else ()
    return "".join(
        f" It held {model_id} by the memory plan {plan!r}; the next load on that device takes a smaller one, if any."
        for model_id, plan in end_plans(connection, worker_id, running)
    )


def _models_run(connection: Connection, worker_id: str) -> Collection[str]:
    """The models of the jobs and load requests that the worker was running."""
    jobs_run = select(jobs.c.model_id).where(PROCESSING, jobs.c.worker_id == worker_id)
    taken = (load_requests.c.worker_id == worker_id, load_requests.c.state == LoadState.TAKEN.value)
    return set(connection.scalars(union(jobs_run, select(load_requests.c.model_id).where(*taken)))) - {None}


def _record(connection: Connection, worker_id: str, death: Death, plans: str) -> None:
    connection.execute(delete(worker_deaths).where(worker_deaths.c.died_at < now() - KEPT_SECONDS))
    values = {"worker_id": worker_id, "cause": death.cause, "status": death.status, "died_at": now()}
    new = insert_into(worker_deaths, connection).values(**values).on_conflict_do_nothing()
    if connection.execute(new.returning(worker_deaths.c.worker_id)).one_or_none() is not None:
        count(connection, {Counter("worker_deaths", detail=death.cause): 1})
    connection.execute(delete(workers).where(workers.c.id == worker_id))
    taken = (load_requests.c.worker_id == worker_id, load_requests.c.state == LoadState.TAKEN.value)
    message = f"The worker died while it loaded the model: {death.sentence}.{plans}"
    connection.execute(
        update(load_requests)
        .where(*taken)
        .values(state=LoadState.FAILED.value, ended_at=now(), error_code=WorkerDied.code, error_message=message)
    )


def _free_jobs(connection: Connection, worker_id: str, message: str) -> Sequence[Row[Any]]:
    new_status = status_after_failure()
    waits = new_status == JobStatus.PENDING.value
    code = case((TIMED_OUT, GenerationTimeout.code), else_=WorkerDied.code)
    text = case((TIMED_OUT, GenerationTimeout.title + "."), else_=message)
    return connection.execute(
        update(jobs)
        .where(PROCESSING, jobs.c.worker_id == worker_id)
        .values(
            status=new_status,
            error_code=case((jobs.c.cancel_requested, None), else_=code),
            error_message=case((jobs.c.cancel_requested, None), else_=text),
            completed_at=case((waits, None), else_=now()),
            available_at=case((waits, now() + backoff_after(jobs.c.attempt - 1)), else_=None),
            worker_id=None,
            lease_expires_at=None,
            revision=jobs.c.revision + 1,
        )
        .returning(jobs)
    ).all()

"""Submit a batch: plan its jobs, check each, and store all of them or none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from app.core.batches.axes import Axis
from app.core.batches.batch import Batch, NewBatch, NewJob
from app.core.batches.lines import planned, read_lines
from app.core.batches.plan import Plan
from app.core.batches.request import BatchInput
from app.core.catalog import Lane
from app.core.field_aliases import SETTING_ALIASES
from app.core.request import GenerationRequest
from app.errors import FieldError, InvalidRequest
from app.monitoring.tracing import current_header
from app.services.batches.prepare import JobPreparer, Problems
from app.services.batches.wildcards import wildcards_of
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.submit import draw_seed, keyed, refuse_when_no_room
from app.services.media.disk import refuse_when_full
from app.services.webhooks.signing import check_url
from app.store.queue.batch_changes import Submitter
from app.store.queue.batch_limits import check_price
from app.store.queue.idempotency import IdempotencyKey

MOST_WARNINGS = 20
PATIENCE_SECONDS = 20.0
DRY_RUN_PATIENCE_SECONDS = 1.0  # sent while one types: those that wait would hold the threads of the server
_OTHER_NAMES = [name for name, own in SETTING_ALIASES.items() if own == "num_images"]
_NOT_STORED = frozenset({"image", "mask", "inputs", "lines"})


def one_at_a_time(context: AppContext, client_id: str, patience: float) -> AbstractContextManager[None]:
    """Few batches are prepared at a time, for the memory that they take, and one of a client. Raises Unavailable after
    `patience` seconds."""
    refusal = "Other batches are being accepted. Try again in a few seconds."
    return context.batch_slots.taking(client_id, timeout=patience, refusal=refusal)


@dataclass(frozen=True)
class BatchOptions:
    """What a batch has beside its jobs."""

    name: str | None = None
    priority: int = 0
    webhook_url: str | None = None
    max_seconds: float | None = None
    max_spend: float | None = None
    skip_invalid: bool = False


@dataclass(frozen=True)
class BatchSubmission:
    """The answer to the client. `jobs` are those of this request; `total` those that the batch has now."""

    batch_id: str
    jobs: int
    total: int
    axes: Sequence[Axis]
    warnings: Sequence[str]
    skipped: Sequence[FieldError]
    is_new: bool


@dataclass(frozen=True)
class PreparedBatch:
    """The jobs of a batch, which are stored nowhere yet. `price` is that of all remote ones."""

    jobs: Sequence[NewJob]
    axes: Sequence[Axis]
    problems: Problems

    @property
    def price(self) -> float:
        return sum(job.charge.price for job in self.jobs if job.charge is not None)

    @property
    def warnings(self) -> Sequence[str]:
        """Those of all jobs, each once."""
        found = dict.fromkeys(warning for job in self.jobs for warning in job.warnings)
        return list(found)[:MOST_WARNINGS]


def prepare_batch(
    context: AppContext,
    asked: BatchInput,
    options: BatchOptions,
    *,
    client_id: str,
    request_id: str | None = None,
) -> PreparedBatch:
    """The jobs of `asked`, checked. Raises InvalidRequest with all that is wrong; with `skip_invalid` only if no line
    is right."""
    drawn_seed = draw_seed()
    preparer = JobPreparer(context, client_id=client_id, request_id=request_id, drawn_seed=drawn_seed)
    if asked.lines is not None:
        return _from_lines(context, asked, options, preparer)
    if options.skip_invalid:
        message = "is for requests by line: without `lines` a batch is all or nothing"
        raise InvalidRequest(f"skip_invalid {message}.", errors=[FieldError("skip_invalid", message)])
    plan = plan_of(context, asked, drawn_seed=drawn_seed)
    jobs = preparer.jobs(plan.jobs())
    preparer.problems.refuse()
    return PreparedBatch(jobs, plan.axes, preparer.problems)


def plan_of(context: AppContext, asked: BatchInput, *, drawn_seed: int = 0) -> Plan:
    """The plan of a batch of templates and axes. Raises InvalidRequest."""
    wildcards = wildcards_of(context, _templates(asked))
    return Plan(asked, wildcards, most=context.settings.max_batch_jobs, drawn_seed=drawn_seed)


def count_images(context: AppContext, asked: BatchInput, images_of: Callable[[Mapping[str, Any]], int]) -> int:
    """How many pictures `asked` would make, at most; `images_of` reads the number of one request's body, in any of its
    spellings. Raises InvalidRequest."""
    if asked.lines is not None:
        lines = read_lines(asked.lines, most=context.settings.max_batch_jobs)
        return sum(images_of(job.body) for job in planned(lines, asked.base()))
    each = [asked.settings.num_images]
    for axis in asked.axes:
        if axis.field.rpartition(".")[2] in ("num_images", *_OTHER_NAMES):
            each += [images_of({"num_images": value}) for value in axis.values]
    return plan_of(context, asked).count * max(each)


def submit_batch(
    context: AppContext,
    asked: BatchInput,
    options: BatchOptions,
    *,
    client_id: str,
    idempotency_key: str | None = None,
    request_id: str | None = None,
) -> BatchSubmission:
    """Enqueue all jobs of `asked` in one transaction. Once this returns, they survive any crash.

    Raises InvalidRequest, IdempotencyConflict, QueueFull, SpendLimit or DiskFull; nothing is stored then.
    """
    idempotency = keyed(idempotency_key, _digest_of(asked, options, ""))
    if (earlier := _earlier(context, client_id, idempotency)) is not None:
        return earlier
    if options.webhook_url is not None:
        check_url(context, options.webhook_url)
    with one_at_a_time(context, client_id, PATIENCE_SECONDS):
        prepared = prepare_batch(context, asked, options, client_id=client_id, request_id=request_id)
        check_price(prepared.price, 0.0, options.max_spend)
        refuse_when_no_room_for(context, prepared.jobs)
        new = NewBatch(
            axes=prepared.axes,
            request=_stored(asked),
            name=options.name,
            priority=options.priority,
            webhook_url=options.webhook_url,
            max_seconds=options.max_seconds,
            max_spend=options.max_spend,
            warnings=prepared.warnings,
            request_id=request_id,
        )
        by = _submitter(context, client_id, idempotency)
        batch_id, is_new = context.batch_changes.enqueue(new, prepared.jobs, by)
        if not is_new and (earlier := _earlier(context, client_id, idempotency)) is not None:
            return earlier
        context.notifications.publish("work")
        return _submission(batch_id, prepared, len(prepared.jobs), is_new)


def add_jobs(
    context: AppContext,
    batch: Batch,
    asked: BatchInput,
    options: BatchOptions,
    *,
    client_id: str,
    idempotency_key: str | None = None,
    request_id: str | None = None,
) -> BatchSubmission:
    """Enqueue more jobs of `batch`, at the places after its last. Raises as `submit_batch`, and Conflict if it was
    cancelled or is past its deadline."""
    idempotency = keyed(idempotency_key, _digest_of(asked, options, batch.id))
    if idempotency is not None and (first := context.jobs.first_answer(batch.owner, idempotency)) is not None:
        # Accepted before: the limits for new jobs do not apply.
        return BatchSubmission(batch.id, first.position or 0, batch.jobs, (), first.warnings, (), is_new=False)
    with one_at_a_time(context, client_id, PATIENCE_SECONDS):
        prepared = prepare_batch(context, asked, options, client_id=client_id, request_id=request_id)
        refuse_when_full(context, prepared.jobs[0].request)
        by, settings = _submitter(context, batch.owner, idempotency), context.settings
        # What the batch may take, and the queue, is checked there: others may add jobs at the same time.
        limits = {"most_jobs": settings.max_batch_jobs, "most_pending": settings.queue_max_pending}
        total, is_new = context.batch_changes.add(batch, prepared.jobs, by, **limits)
        context.notifications.publish("work")
        added = _submission(batch.id, prepared, total, is_new)
        return replace(added, axes=())  # they are not on the axes of the batch


def refuse_when_no_room_for(context: AppContext, jobs: Sequence[NewJob]) -> None:
    """Raises QueueFull or DiskFull."""
    refuse_when_no_room(context, jobs[0].request)
    context.jobs.check_room(len(jobs), context.settings.queue_max_pending)


def _from_lines(context: AppContext, asked: BatchInput, options: BatchOptions, preparer: JobPreparer) -> PreparedBatch:
    """Requests by line."""
    assert asked.lines is not None
    if asked.axes or asked.prompt or asked.seeds is not None:
        message = "takes the place of prompt, axes and seeds; send one of both"
        raise InvalidRequest(f"lines {message}.", errors=[FieldError("lines", message)])
    lines = read_lines(asked.lines, most=context.settings.max_batch_jobs)
    for line in lines:
        if line.problems:
            preparer.problems.add(f"lines.{line.number}", line.problems)
    jobs = preparer.jobs(planned([line for line in lines if not line.problems], asked.base()))
    if not options.skip_invalid or not jobs:
        preparer.problems.refuse()
    renumbered = [NewJob(**{**vars(job), "place": place}) for place, job in enumerate(jobs)]
    return PreparedBatch(renumbered, [Axis("line", _labels(renumbered))], preparer.problems)


def _labels(jobs: Sequence[NewJob]) -> Sequence[str]:
    return [str(job.place + 1) for job in jobs]


def _templates(asked: BatchInput) -> list[str]:
    values = (value for axis in asked.axes if axis.field == "prompt" for value in axis.values)
    return [asked.prompt, *(value for value in values if isinstance(value, str))]


def _submitter(context: AppContext, client_id: str, idempotency: IdempotencyKey | None) -> Submitter:
    return Submitter(client_id, context.settings.max_attempts, idempotency, current_header())


def _earlier(context: AppContext, client_id: str, idempotency: IdempotencyKey | None) -> BatchSubmission | None:
    """The answer to a request that is repeated. Raises IdempotencyConflict."""
    if idempotency is None or (first := context.jobs.first_answer(client_id, idempotency)) is None:
        return None
    batch = context.batches.get(first.job_id)
    return BatchSubmission(batch.id, batch.jobs, batch.jobs, batch.axes, first.warnings, (), is_new=False)


def _digest_of(asked: BatchInput, options: BatchOptions, batch_id: str) -> Callable[[], str]:
    """What was asked for, so that one key stands for one request; never equal to that of a job."""

    def digest() -> str:
        whole: Mapping[str, Any] = {"batch": batch_id, "asked": asked.model_dump(mode="json"), **vars(options)}
        return hashlib.sha256(to_json(whole)).hexdigest()

    return digest


def _stored(asked: BatchInput) -> dict[str, Any]:
    """What was asked for, as the batch keeps it: without pictures and lines, which may be large."""
    return asked.model_dump(mode="json", exclude_unset=True, exclude=set(_NOT_STORED))


def _submission(batch_id: str, prepared: PreparedBatch, total: int, is_new: bool) -> BatchSubmission:
    skipped = prepared.problems.errors()
    return BatchSubmission(
        batch_id, len(prepared.jobs), total, prepared.axes, prepared.warnings, skipped, is_new=is_new
    )


@dataclass(frozen=True)
class DryRun:
    """The jobs that there would be. `seconds` is how long they would take once it is their turn; None while unknown."""

    prepared: PreparedBatch
    seconds: float | None


def dry_run(
    context: AppContext, asked: BatchInput, options: BatchOptions, *, client_id: str, request_id: str | None
) -> DryRun:
    """Raises as `prepare_batch`, and Unavailable."""
    with one_at_a_time(context, client_id, DRY_RUN_PATIENCE_SECONDS):
        prepared = prepare_batch(context, asked, options, client_id=client_id, request_id=request_id)
    return DryRun(prepared, _seconds(context, prepared.jobs))


def _seconds(context: AppContext, jobs: Sequence[NewJob]) -> float | None:
    """The lanes work at the same time."""
    estimator = EtaEstimator(context)
    by_lane: dict[Lane, list[GenerationRequest]] = {}
    for job in jobs:
        by_lane.setdefault(job.lane, []).append(job.request)
    found = [estimator.seconds_of(lane, requests) for lane, requests in by_lane.items()]
    known = [seconds for seconds in found if seconds is not None]
    return max(known, default=None) if len(known) == len(found) else None

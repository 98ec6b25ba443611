"""A batch as clients see it: its counts, when it ends, and its pictures by place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.batches.batch import Batch, BatchStatus, Place
from app.core.times import iso
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator


@dataclass(frozen=True)
class BatchView:
    """A batch with the estimate of its end; `places` are one page of them."""

    batch: Batch
    eta_seconds: float | None
    places: Sequence[Place] = ()


def view(
    context: AppContext, batch_id: str, *, offset: int = 0, limit: int = 0, estimator: EtaEstimator | None = None
) -> BatchView:
    """`estimator` may be passed in by callers that poll often. Raises BatchNotFound or Gone."""
    batch = context.batches.get(batch_id)
    places = context.batches.places(batch_id, offset=offset, limit=limit) if limit else ()
    return BatchView(batch, eta_of(context, batch, estimator), places)


def eta_of(context: AppContext, batch: Batch, estimator: EtaEstimator | None = None) -> float | None:
    """Seconds until the last job ends, as far back as it waits; None while unknown, and for a paused batch."""
    if batch.status is not BatchStatus.RUNNING:
        return None
    job, estimator = context.batches.last_waiting(batch.id), estimator or EtaEstimator(context)
    if job is not None:
        return estimator.eta(job, context.jobs.position(job))
    running = [estimator.eta(each, None) for each in estimator.running if each.batch_id == batch.id]
    return max((each for each in running if each is not None), default=None)


def message(batch: Batch, event: str, at: float) -> str:
    """The webhook message about a batch. All attempts to deliver it send the same characters."""
    data = {
        "batch_id": batch.id,
        "name": batch.name,
        "status": batch.status.value,
        "jobs": batch.jobs,
        "counts": {status.value: number for status, number in batch.counts.items()},
        "percent": batch.percent,
        "stopped": batch.stopped,
        "created_at": iso(batch.created_at),
    }
    return json.dumps({"type": event, "timestamp": iso(at), "data": data}, ensure_ascii=False, separators=(",", ":"))

"""What event streams follow: jobs, and batches. Each kind says how it is read and when a client has seen its last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.core.batches.batch import BatchStatus
from app.core.job import JobStatus, JobView
from app.services.batches.view import BatchView
from app.services.batches.view import view as batch_view
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.jobs.status import view as job_view
from app.store.queue.previews import Preview

ESTIMATOR_SECONDS = 1.0  # an estimator is reused for so long

Kind = Literal["job", "batch"]


@dataclass(frozen=True)
class State:
    """How something stands. `revision` differs between any two states of it; nothing follows the last one."""

    view: JobView | BatchView
    revision: object
    is_last: bool
    preview: Preview | None = None


class Followed(Protocol):
    """One kind of what is followed, by its ids."""

    def revisions(self, ids: Sequence[str]) -> Mapping[str, object]:
        """The revisions of those that exist."""

    def read(self, an_id: str) -> State:
        """Raises what its service raises where there is none any more."""

    def forget(self, an_id: str) -> None:
        """It has no listener any more."""


def followed_kinds(context: AppContext) -> Mapping[Kind, Followed]:
    estimates = _Estimates(context)
    return {"job": FollowedJobs(context, estimates), "batch": FollowedBatches(context, estimates)}


class FollowedJobs:
    """Jobs, with their newest previews."""

    def __init__(self, context: AppContext, estimates: _Estimates) -> None:
        self._context = context
        self._estimates = estimates
        self._previews: dict[str, Preview] = {}

    def revisions(self, ids: Sequence[str]) -> Mapping[str, object]:
        return self._context.jobs.revisions(list(ids))

    def read(self, an_id: str) -> State:
        found = job_view(self._context, an_id, self._estimates.current())
        preview = self._preview(an_id) if may_have_preview(found) else None
        return State(found, found.job.revision, found.job.status.terminal, preview)

    def forget(self, an_id: str) -> None:
        self._previews.pop(an_id, None)

    def _preview(self, job_id: str) -> Preview | None:
        known = self._previews.get(job_id)
        newer = self._context.previews.get(
            job_id, newer_than=(known.attempt, known.step) if known is not None else (0, 0)
        )
        if newer is not None:
            self._previews[job_id] = newer
        return newer or known


class FollowedBatches:
    """Batches, without their places."""

    def __init__(self, context: AppContext, estimates: _Estimates) -> None:
        self._context = context
        self._estimates = estimates

    def revisions(self, ids: Sequence[str]) -> Mapping[str, object]:
        return {batch.id: batch.revision for batch in self._context.batches.some(ids)}

    def read(self, an_id: str) -> State:
        found = batch_view(self._context, an_id, estimator=self._estimates.current())
        return State(found, found.batch.revision, found.batch.status is BatchStatus.ENDED)

    def forget(self, an_id: str) -> None:
        """Nothing is kept of it."""


class _Estimates:
    """An estimator that all share for a moment."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._made: tuple[float, EtaEstimator] | None = None

    def current(self) -> EtaEstimator:
        if self._made is None or time.monotonic() - self._made[0] > ESTIMATOR_SECONDS:
            self._made = (time.monotonic(), EtaEstimator(self._context))
        return self._made[1]


def may_have_preview(state: JobView) -> bool:
    """Whether there may be a preview."""
    return state.job.status is JobStatus.PROCESSING and state.job.progress.step > 0

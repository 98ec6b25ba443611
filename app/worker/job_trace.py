"""The spans of a running job: the wait before its claim, the attempt, and in it each phase as the engine reports it."""

from __future__ import annotations

import time
from itertools import pairwise

from app.core.job import Claim, Phase
from app.core.trace_context import TraceContext, parse
from app.errors import Cancelled, CyberImageError, LeaseLost
from app.monitoring.tracing import Span

_MOST_PHASES = 500  # of a job with very many pictures the first ones


class JobTrace:
    """Of one attempt. Written by the thread that runs the job; ended once, by the one that writes its end."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._started = time.time()
        self._phases: list[tuple[Phase, float]] = []
        self._span: Span | None = None

    @property
    def context(self) -> TraceContext | None:
        """What is passed on: to the provider of a remote model."""
        return None if self._span is None else self._span.context

    def begin(self) -> None:
        request, parent = self._claim.request, parse(self._claim.traceparent)
        waited = Span("queue", parent, start=self._started - self._claim.queued_seconds)
        waited.end(end=self._started)
        about = {
            "cyberimage.job.id": self._claim.job_id,
            "cyberimage.model.id": request.model_id,
            "cyberimage.job.attempt": self._claim.attempt,
            "cyberimage.job.images": request.num_images,
        }
        self._span = Span(f"job {request.model_id}", parent, kind="consumer", start=self._started, attributes=about)

    def enter(self, phase: Phase) -> None:
        if (not self._phases or self._phases[-1][0] is not phase) and len(self._phases) < _MOST_PHASES:
            self._phases.append((phase, time.time()))

    def end(self, error: BaseException | None) -> None:
        """`error` ended the attempt; None: it was published."""
        span, self._span = self._span, None
        if span is None:
            return
        now, phases = time.time(), list(self._phases)
        for (phase, begun), (_, end) in pairwise([*phases, (Phase.DONE, now)]):
            Span(phase.value, span.context, start=begun).end(end=end)
        stopped = isinstance(error, (Cancelled, LeaseLost))
        outcome = "completed" if error is None else "stopped" if stopped else _code_of(error)
        failed = error is not None and not stopped
        span.end(end=now, error=outcome if failed else None, attributes={"cyberimage.job.outcome": outcome})


def _code_of(error: BaseException) -> str:
    return error.code if isinstance(error, CyberImageError) else CyberImageError.code

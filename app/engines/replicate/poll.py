"""Waits for the end of a prediction: reads the ledger, which webhooks update, and polls the provider at intervals."""

from __future__ import annotations

import contextlib
import re
import time

from app.core.job import Phase
from app.core.prediction import Prediction, PredictionStatus, Report
from app.engines.base import Control
from app.engines.remote import ledger_of
from app.engines.replicate import SOURCE
from app.engines.replicate.retry import (
    LOOK_SECONDS,
    Delivered,
    LedgerWatch,
    RetryDeadline,
    current_prediction,
    pauses,
)
from app.errors import DatabaseUnavailable, GenerationTimeout, ProviderError
from app.providers.calls import Busy, Refused, Unreachable, log
from app.providers.replicate import Replicate

POLL_PAUSES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
POLL_PAUSES_WITH_WEBHOOK = (5.0, 10.0, 20.0, 30.0)
REFUSED_SECONDS = 30.0  # of refused polls before the job fails
_STEPS = re.compile(r"\d+%\|[^\r\n]*\| *(\d+)/(\d+) ")


class PredictionPoll:
    """`has_webhook`: the provider has a webhook to report the end, so polling is only a fallback."""

    def __init__(self, api: Replicate, control: Control, deadline: RetryDeadline, *, has_webhook: bool) -> None:
        self._api = api
        self._control = control
        self._ledger = ledger_of(control)
        self._deadline = deadline
        self._pauses = pauses(POLL_PAUSES_WITH_WEBHOOK if has_webhook else POLL_PAUSES)
        self._refused_since: float | None = None

    def wait_until_ended(self, known: Prediction) -> Prediction:
        """The prediction once its status is terminal. Raises ProviderError, Cancelled or GenerationTimeout."""
        assert known.provider_id is not None, "only a created prediction can be polled"
        poll_at = time.monotonic() + (0.0 if known.age > LOOK_SECONDS else next(self._pauses))
        while not known.status.terminal:
            try:
                poll_at = self._step(known.provider_id, known, poll_at)
            except GenerationTimeout:
                if (known := self._look(known)).status is PredictionStatus.SUCCEEDED:  # it ended before the cancel
                    return known
                raise
            known = self._look(known)
        return known

    def _step(self, provider_id: str, known: Prediction, poll_at: float) -> float:
        """Poll if it is time to, or wait for that for LOOK_SECONDS at most. Returns the time of the next poll."""
        now = time.monotonic()
        if now < poll_at:
            self._deadline.pause(min(poll_at - now, LOOK_SECONDS), provider_id)
            return poll_at
        watch = LedgerWatch(self._ledger, known, lambda seen: seen.status.terminal)
        with contextlib.suppress(Delivered):
            self._poll(provider_id, watch)
        return time.monotonic() + next(self._pauses)

    def _poll(self, provider_id: str, watch: LedgerWatch) -> None:
        """Query the prediction's state, report it as progress and record it in the ledger. Raises Delivered if a
        webhook reports the end first."""
        try:
            report = self._deadline.run(lambda: self._api.prediction(provider_id), watch=watch, provider_id=provider_id)
            self._show(report)
            self._ledger.observed(SOURCE, report)
            self._refused_since = None
        except Refused as refused:
            self._note_refusal(refused)
        except (Busy, Unreachable, DatabaseUnavailable) as fault:
            log.warning("Cannot poll a prediction, trying again: %s", fault)

    def _note_refusal(self, refused: Refused) -> None:
        """Raise ProviderError after REFUSED_SECONDS of refusals: a new prediction may be unknown for a moment."""
        self._refused_since = self._refused_since or time.monotonic()
        if time.monotonic() - self._refused_since >= REFUSED_SECONDS:
            raise ProviderError(refused.text)

    def _look(self, known: Prediction) -> Prediction:
        try:
            return current_prediction(self._ledger, known)
        except DatabaseUnavailable:  # it recovers, or the lease expires
            return known

    def _show(self, report: Report) -> None:
        if report.status is PredictionStatus.PROCESSING:
            steps = _STEPS.findall(report.logs[-5000:])
            step, total = (int(number) for number in steps[-1]) if steps else (0, 0)
            self._control.report(Phase.GENERATING, step, total)

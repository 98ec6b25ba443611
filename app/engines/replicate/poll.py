"""Waits for the end of a prediction: reads the ledger, which webhooks update, and polls the provider at intervals."""

from __future__ import annotations

import re
import time

from app.core.job import Phase
from app.core.prediction import Prediction, PredictionStatus, Report
from app.engines.base import Control
from app.engines.remote import ledger_of
from app.engines.replicate import SOURCE
from app.engines.replicate.create import current_prediction
from app.engines.replicate.retry import RetryDeadline, pauses
from app.errors import DatabaseUnavailable, ProviderError
from app.providers.calls import Busy, Refused, Unreachable, log
from app.providers.replicate import Replicate

POLL_PAUSES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
POLL_PAUSES_WITH_WEBHOOK = (5.0, 10.0, 20.0, 30.0)
LOOK_SECONDS = 1.0  # how often the ledger is read
REFUSALS = 3  # consecutive refused polls before the job fails
_STEPS = re.compile(r"\d+%\|[^\r\n]*\| *(\d+)/(\d+) ")


class PredictionPoll:
    """`has_webhook`: the provider has a webhook to report the end, so polling is only a fallback."""

    def __init__(self, api: Replicate, control: Control, deadline: RetryDeadline, *, has_webhook: bool) -> None:
        self._api = api
        self._control = control
        self._ledger = ledger_of(control)
        self._deadline = deadline
        self._pauses = pauses(POLL_PAUSES_WITH_WEBHOOK if has_webhook else POLL_PAUSES)
        self._refusals = 0

    def wait_until_ended(self, known: Prediction) -> Prediction:
        """The prediction once its status is terminal. Raises ProviderError, Cancelled or GenerationTimeout."""
        provider_id = known.provider_id
        assert provider_id is not None, "only a created prediction can be polled"
        poll_at = time.monotonic() + (0.0 if known.age > LOOK_SECONDS else next(self._pauses))
        while not known.status.terminal:
            now = time.monotonic()
            if now < poll_at:
                self._deadline.pause(min(poll_at - now, LOOK_SECONDS), provider_id)
            else:
                self._poll(provider_id)
                poll_at = time.monotonic() + next(self._pauses)
            known = self._look(known)
        return known

    def _poll(self, provider_id: str) -> None:
        """Query the prediction's state, report it as progress and record it in the ledger."""
        try:
            report = self._api.prediction(provider_id)
            self._show(report)
            self._ledger.observed(SOURCE, report)
            self._refusals = 0
        except Refused as refused:
            self._refusals += 1
            if self._refusals >= REFUSALS:
                raise ProviderError(refused.text) from None
        except (Busy, Unreachable, DatabaseUnavailable) as fault:
            log.warning("Cannot poll a prediction, trying again: %s", fault)

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

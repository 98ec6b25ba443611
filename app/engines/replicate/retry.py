"""Retries of provider calls: time limits, pauses, and cancellation while waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from app.engines.base import Control
from app.engines.remote import ledger_of
from app.engines.replicate import SOURCE
from app.errors import Cancelled, DatabaseUnavailable, GenerationTimeout, ProviderError
from app.providers.calls import Busy, ProviderFault, Refused, Unreachable, log
from app.providers.replicate import Replicate

ASK_SECONDS = 120.0  # how long an unreachable provider is retried
ASK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
T = TypeVar("T")


class RetryDeadline:
    """Time limit and retries of one job's calls. `seconds` is how long the whole job may take."""

    def __init__(self, api: Replicate, control: Control, model: str, seconds: float) -> None:
        self._api = api
        self._control = control
        self._ledger = ledger_of(control)
        self._model = model
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def subtract(self, seconds: float) -> None:
        """Subtract the seconds that an earlier attempt used."""
        self._deadline -= seconds

    def call(self, request: Callable[[], T]) -> T:
        """Call `request`, retrying while the provider is busy or unreachable. Raises ProviderError."""
        give_up_at = min(self._deadline, time.monotonic() + ASK_SECONDS)
        for pause in pauses(ASK_PAUSES):
            try:
                return request()
            except Refused as refused:
                raise ProviderError(refused.text) from None
            except Busy as busy:
                fault: ProviderFault = busy
                pause = max(pause, busy.retry_after or 0.0)
                give_up_at = max(give_up_at, min(self._deadline, time.monotonic() + pause + 1.0))
            except Unreachable as away:
                fault = away
            log.warning("%s Trying again in %.0f s.", fault.text, pause)
            if time.monotonic() + pause > give_up_at:
                raise ProviderError(f"{fault.text} Retry when it answers again.")
            self.pause(pause)
        raise AssertionError("the pauses never end")

    def pause(self, seconds: float, provider_id: str | None = None) -> None:
        """Wait `seconds`. Cancels the prediction `provider_id` and raises Cancelled or GenerationTimeout when the job
        is stopped or late."""
        self._ledger.wait(seconds)
        late = time.monotonic() >= self._deadline
        if not late and not self._control.cancelled():
            return
        if provider_id is not None and (late or not self._ledger.wanted()):
            self._cancel_prediction(provider_id)
        if late:
            raise GenerationTimeout(
                f"{self._model} took longer than {self._seconds:g} seconds (REMOTE_TIMEOUT_SECONDS)."
            )
        raise Cancelled

    def _cancel_prediction(self, provider_id: str) -> None:
        try:
            self._ledger.observed(SOURCE, self._api.cancel(provider_id))
        except (ProviderFault, DatabaseUnavailable) as fault:  # AbandonedPredictions tries again
            log.warning("A prediction could not be cancelled yet: %s", fault)


def pauses(steps: tuple[float, ...]) -> Iterator[float]:
    """`steps`, then the last of them for ever."""
    yield from steps
    while True:
        yield steps[-1]

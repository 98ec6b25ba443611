"""Waiting for a provider: how long, how often it is asked again, and how a wait is broken off."""

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

ASK_SECONDS = 120.0  # how long a provider that cannot be reached is tried
ASK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
T = TypeVar("T")


class RetryDeadline:
    """Of one job. `seconds` is how long all of it may take."""

    def __init__(self, api: Replicate, control: Control, model: str, seconds: float) -> None:
        self._api = api
        self._control = control
        self._ledger = ledger_of(control)
        self._model = model
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def used_up(self, seconds: float) -> None:
        """An earlier attempt took so much of it."""
        self._deadline -= seconds

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to `question`, asked again while the provider is busy or away. Raises ProviderError."""
        give_up_at = min(self._deadline, time.monotonic() + ASK_SECONDS)
        for pause in pauses(ASK_PAUSES):
            try:
                return question()
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
        """Wait. Raises Cancelled or GenerationTimeout, after telling the provider that nobody wants it any more."""
        self._ledger.wait(seconds)
        late = time.monotonic() >= self._deadline
        if not late and not self._control.cancelled():
            return
        if provider_id is not None and (late or not self._ledger.wanted()):
            self._withdraw(provider_id)
        if late:
            raise GenerationTimeout(
                f"{self._model} took longer than {self._seconds:g} seconds (REMOTE_TIMEOUT_SECONDS)."
            )
        raise Cancelled

    def _withdraw(self, provider_id: str) -> None:
        try:
            self._ledger.observed(SOURCE, self._api.cancel(provider_id))
        except (ProviderFault, DatabaseUnavailable) as fault:  # whoever looks for strays tries again
            log.warning("A prediction could not be cancelled yet: %s", fault)


def pauses(steps: tuple[float, ...]) -> Iterator[float]:
    """`steps`, the last of them for ever."""
    yield from steps
    while True:
        yield steps[-1]

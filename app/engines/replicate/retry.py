"""Calls to the provider: time limits, retries with pauses, and leaving a call that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from app.core.prediction import Prediction
from app.engines.base import Control, Ledger
from app.engines.interruptible import run_interruptibly
from app.engines.remote import ledger_of
from app.engines.replicate import SOURCE
from app.errors import Cancelled, DatabaseUnavailable, GenerationTimeout, LeaseLost, ProviderError
from app.providers.calls import Busy, ProviderFault, Refused, Unreachable, log
from app.providers.replicate import Replicate

ASK_SECONDS = 120.0  # how long an unreachable provider is retried
ASK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
LOOK_SECONDS = 1.0  # how often the ledger is read
CANCEL_SECONDS = 2.0  # how long the answer to a cancel is waited for
FIND_SECONDS = 60.0  # for a prediction of an earlier attempt, past the time limit
T = TypeVar("T")


class Delivered(Exception):
    """A webhook has delivered what the call was to find out."""


class LedgerWatch:
    """Raises Delivered when `arrived` is true of the prediction in the ledger, which is read every LOOK_SECONDS."""

    def __init__(self, ledger: Ledger, prediction: Prediction, arrived: Callable[[Prediction], bool]) -> None:
        self._ledger = ledger
        self._prediction = prediction
        self._arrived = arrived
        self._look_at = time.monotonic() + LOOK_SECONDS

    def __call__(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        try:
            known = current_prediction(self._ledger, self._prediction)
        except DatabaseUnavailable:  # it recovers, or the lease expires
            return
        if self._arrived(known):
            raise Delivered


class RetryDeadline:
    """Time limit and retries of one job's calls. `seconds` is how long the whole job may take."""

    def __init__(self, api: Replicate, control: Control, model: str, seconds: float) -> None:
        self._api = api
        self._control = control
        self._ledger = ledger_of(control)
        self._model = model
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self.overdue = False

    def subtract(self, seconds: float) -> None:
        """Subtract the seconds that an earlier attempt used. FIND_SECONDS are left to look for what it has created;
        `overdue` is true then, and nothing may be created any more."""
        left = self._seconds - seconds
        self.overdue = left < 0
        self._deadline = time.monotonic() + (FIND_SECONDS if self.overdue else left)

    def call(self, request: Callable[[], T]) -> T:
        """Call `request` interruptibly, retrying while the provider is busy or unreachable. Raises ProviderError."""
        return self.retry(lambda: self.run(request))

    def retry(self, request: Callable[[], T], *, patient: Callable[[], bool] = lambda: False) -> T:
        """Call `request` until the provider is neither busy nor unreachable, for ASK_SECONDS; to the time limit while
        it is `patient`. Raises ProviderError."""
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
            if time.monotonic() + pause > (self._deadline if patient() else give_up_at):
                raise ProviderError(f"{fault.text} Retry when it answers again.")
            self.pause(pause)
        raise AssertionError("the pauses never end")

    def run(
        self,
        work: Callable[[], T],
        *,
        watch: Callable[[], None] = lambda: None,
        provider_id: str | None = None,
        through_drain: bool = False,
    ) -> T:
        """The result of `work`, which may hang: what `watch` raises ends the wait, and so does a stop or the time
        limit, as in `check`. `through_drain`: a worker that stops waits for it."""

        def check() -> None:
            watch()
            self.check(provider_id, through_drain=through_drain)

        return run_interruptibly(work, check)

    def pause(self, seconds: float, provider_id: str | None = None) -> None:
        """Wait `seconds`, then `check`."""
        self._ledger.wait(seconds)
        self.check(provider_id)

    def check(self, provider_id: str | None = None, *, through_drain: bool = False) -> None:
        """Raise Cancelled or GenerationTimeout when the job is stopped or late, after cancelling the prediction
        `provider_id`."""
        late = time.monotonic() >= self._deadline
        stopped = self._control.cancelled() and not (through_drain and self._ledger.wanted())
        if not late and not stopped:
            return
        if provider_id is not None and (late or not self._ledger.wanted()):
            self._cancel_prediction(provider_id)
        if late:
            self.expire()
        raise Cancelled

    def expire(self) -> NoReturn:
        raise GenerationTimeout(f"{self._model} took longer than {self._seconds:g} seconds (REMOTE_TIMEOUT_SECONDS).")

    def _cancel_prediction(self, provider_id: str) -> None:
        """Cancel it, or leave it to AbandonedPredictions."""
        give_up_at = time.monotonic() + CANCEL_SECONDS

        def check() -> None:
            if time.monotonic() >= give_up_at:
                raise Unreachable("The provider did not answer to the cancel.", maybe_done=True)

        try:
            report = run_interruptibly(lambda: self._api.cancel(provider_id), check)
            self._ledger.observed(SOURCE, report)
        except (ProviderFault, DatabaseUnavailable) as fault:
            log.warning("A prediction could not be cancelled yet: %s", fault)


def current_prediction(ledger: Ledger, prediction: Prediction) -> Prediction:
    """`prediction` as the ledger has it now. Raises LeaseLost when the job was restarted."""
    known = ledger.find()
    if known is None:
        raise LeaseLost(prediction.job_id)
    return known


def pauses(steps: tuple[float, ...]) -> Iterator[float]:
    """`steps`, then the last of them for ever."""
    yield from steps
    while True:
        yield steps[-1]

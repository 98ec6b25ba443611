"""What a worker is told to do between two jobs: load a model, or unload one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.core.catalog import ModelSpec
from app.core.job import STOP_GRACE_SECONDS, Phase
from app.core.load_requests import LoadAction, LoadRequest
from app.engines.base import Engine, Pixels
from app.errors import Cancelled, DatabaseUnavailable, GenerationTimeout
from app.services.context import AppContext
from app.store.queue.load_requests import LoadRequestStore
from app.worker.watchdog import time_limit

LOOK_EVERY_SECONDS = 0.5  # while there are jobs to do: one more look at the database for each would cost


class ModelCommand:
    """The engine's `Control` of a load that nobody's job asked for: it stops when the worker is to, in time, and when
    the order was called off."""

    def __init__(self, order: LoadRequest, orders: LoadRequestStore, draining: threading.Event, seconds: float) -> None:
        self._order = order
        self._orders = orders
        self._draining = draining
        self._next_look = 0.0
        self._came: tuple[float, int] | None = None  # when the first bytes were told, and how many were here then
        self._called_off = False
        self._deadline = time.monotonic() + seconds
        self.hard_deadline = self._deadline + STOP_GRACE_SECONDS

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Nobody follows it."""

    def downloaded(self, done: int, total: int) -> None:
        """Written down for whoever asks, not more often than they look."""
        now = time.monotonic()
        self._came = self._came or (now, done)
        if done == total or now >= self._next_look:
            self._next_look = now + LOOK_EVERY_SECONDS
            since, before = self._came
            pace = (done - before) / (now - since) if now > since else None
            self._ask(lambda: self._orders.progress(self._order, downloaded=done, total=total, per_second=pace))

    def preview(self, pixels: Pixels, step: int) -> None:
        """There is none."""

    def cancelled(self) -> bool:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_SECONDS
            self._ask(lambda: self._orders.is_active(self._order))
        return self._called_off or self._draining.is_set() or now >= self._deadline

    def called_off(self) -> bool:
        """Asked anew."""
        self._ask(lambda: self._orders.is_active(self._order))
        return self._called_off

    def _ask(self, whether_wanted: Callable[[], bool]) -> None:
        with suppress(DatabaseUnavailable):  # then it goes on: the order's end will tell
            self._called_off |= not whether_wanted()


class ModelCommands:
    """`engine_of` gives the engine of a model, `engines` those in use."""

    def __init__(
        self,
        context: AppContext,
        worker_id: str,
        draining: threading.Event,
        engine_of: Callable[[ModelSpec], Engine],
        engines: Sequence[Engine],
    ) -> None:
        self._context = context
        self._worker_id = worker_id
        self._draining = draining
        self._engine_of = engine_of
        self._engines = engines
        self._looked_at = float("-inf")

    def next(self, *, busy: bool) -> LoadRequest | None:
        """An order for this worker, now its own. Looks rarely while the worker is `busy`."""
        if busy and time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
            return None
        self._looked_at = time.monotonic()
        return self._context.load_requests.take(self._worker_id)

    def carry_out(self, order: LoadRequest, resident: Sequence[str]) -> bool:
        """Do it; gives whether there was nothing to load, since `resident` are the models that can draw at once. Raises
        what the engine raises; Cancelled when the worker is to stop, or the order was called off."""
        if order.action is LoadAction.UNLOAD:
            for engine in self._engines:
                held = [model.model_id for model in engine.resident()]
                for model_id in held if order.model_id is None else [order.model_id]:
                    engine.unload(model_id)
            return False
        spec = self._context.catalog.get(order.model_id)
        seconds = self._context.settings.job_timeout_seconds
        command = ModelCommand(order, self._context.load_requests, self._draining, seconds)
        engine, was_resident, stopped = self._engine_of(spec), spec.id in resident, False
        try:
            with time_limit(command):
                engine.load(spec, command)
        except Cancelled:
            stopped = True
        if command.called_off():
            if not was_resident:
                engine.unload(spec.id)
            raise Cancelled
        if stopped and not self._draining.is_set():
            raise GenerationTimeout(f"Loading took longer than {seconds:g} seconds (JOB_TIMEOUT_SECONDS).")
        if stopped:
            raise Cancelled
        return was_resident

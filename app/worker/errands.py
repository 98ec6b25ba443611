"""What a worker is told to do between two jobs: load a model, or unload one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from app.core.catalog import ModelSpec
from app.core.job import STOP_GRACE_SECONDS, Phase
from app.core.model_orders import ModelOrder, OrderAction
from app.engines.base import Engine, Pixels
from app.errors import Cancelled, GenerationTimeout
from app.services.installation import Installation
from app.worker.watchdog import time_limit

LOOK_EVERY_SECONDS = 0.5  # while there are jobs to do: one more look at the database for each would cost


class Errand:
    """The engine's `Control` of a load that nobody's job asked for: it stops when the worker is to, and in time."""

    def __init__(self, draining: threading.Event, seconds: float) -> None:
        self._draining = draining
        self._deadline = time.monotonic() + seconds
        self.hard_deadline = self._deadline + STOP_GRACE_SECONDS

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Nobody follows it."""

    def downloaded(self, done: int, total: int) -> None:
        """Nobody follows it."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """There is none."""

    def cancelled(self) -> bool:
        return self._draining.is_set() or time.monotonic() >= self._deadline


class Errands:
    """`engine_of` gives the engine of a model, `engines` those in use."""

    def __init__(
        self,
        installation: Installation,
        worker_id: str,
        draining: threading.Event,
        engine_of: Callable[[ModelSpec], Engine],
        engines: Sequence[Engine],
    ) -> None:
        self._installation = installation
        self._worker_id = worker_id
        self._draining = draining
        self._engine_of = engine_of
        self._engines = engines
        self._looked_at = float("-inf")

    def next(self, *, busy: bool) -> ModelOrder | None:
        """An order for this worker, now its own. Looks rarely while the worker is `busy`."""
        if busy and time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
            return None
        self._looked_at = time.monotonic()
        return self._installation.model_orders.take(self._worker_id)

    def carry_out(self, order: ModelOrder, resident: Sequence[str]) -> bool:
        """Do it; gives whether there was nothing to load, since `resident` are the models that can draw at once. Raises
        what the engine raises; Cancelled when the worker is to stop."""
        if order.action is OrderAction.UNLOAD:
            for engine in self._engines:
                held = [model.model_id for model in engine.resident()]
                for model_id in held if order.model_id is None else [order.model_id]:
                    engine.unload(model_id)
            return False
        spec = self._installation.catalog.get(order.model_id)
        seconds = self._installation.settings.job_timeout_seconds
        errand = Errand(self._draining, seconds)
        try:
            with time_limit(errand):
                self._engine_of(spec).load(spec, errand)
        except Cancelled:
            if self._draining.is_set():
                raise
            raise GenerationTimeout(f"Loading took longer than {seconds:g} seconds (JOB_TIMEOUT_SECONDS).") from None
        return spec.id in resident

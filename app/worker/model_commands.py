"""Model load and unload requests, carried out by a worker between two jobs, and the unloading of idle models."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.core.catalog import ModelSpec
from app.core.job import STOP_GRACE_SECONDS, Phase
from app.core.load_requests import LoadAction, LoadRequest
from app.engines.base import Engine, LoraEngine, Pixels
from app.errors import Cancelled, DatabaseUnavailable, GenerationError, GenerationTimeout, LoraIncompatible
from app.services.context import AppContext
from app.store.queue.load_requests import LoadRequestStore
from app.worker.watchdog import time_limit

LOOK_EVERY_SECONDS = 0.5  # while there are jobs: a query after each one would cost too much


class LoadControl:
    """The engine's `Control` of a load that belongs to no job: cancelled when the worker drains and after `seconds`."""

    def __init__(self, draining: threading.Event, seconds: float) -> None:
        self._draining = draining
        self._deadline = time.monotonic() + seconds
        self.hard_deadline = self._deadline + STOP_GRACE_SECONDS

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Ignored: there is no job whose progress it would be."""

    def downloaded(self, done: int, total: int) -> None:
        """Ignored, likewise."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """Ignored: loading makes no previews."""

    def cancelled(self) -> bool:
        return self._draining.is_set() or time.monotonic() >= self._deadline


class ModelCommand(LoadControl):
    """`LoadControl` of a load request: also cancelled when the request was withdrawn."""

    def __init__(
        self, request: LoadRequest, requests: LoadRequestStore, draining: threading.Event, seconds: float
    ) -> None:
        super().__init__(draining, seconds)
        self._request = request
        self._requests = requests
        self._next_look = 0.0
        self._first_report: tuple[float, int] | None = None  # its time, and the bytes on this machine then
        self._withdrawn = False

    def downloaded(self, done: int, total: int) -> None:
        """Write the progress of the download to the database, at most once in LOOK_EVERY_SECONDS."""
        now = time.monotonic()
        self._first_report = self._first_report or (now, done)
        if done == total or now >= self._next_look:
            self._next_look = now + LOOK_EVERY_SECONDS
            since, before = self._first_report
            rate = (done - before) / (now - since) if now > since else None
            self._check(lambda: self._requests.progress(self._request, downloaded=done, total=total, per_second=rate))

    def cancelled(self) -> bool:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_SECONDS
            self._check(lambda: self._requests.is_active(self._request))
        return self._withdrawn or super().cancelled()

    def is_withdrawn(self) -> bool:
        """Query the database whether the request was withdrawn."""
        self._check(lambda: self._requests.is_active(self._request))
        return self._withdrawn

    def _check(self, is_wanted: Callable[[], bool]) -> None:
        with suppress(DatabaseUnavailable):  # the load continues; it is checked again at its end
            self._withdrawn |= not is_wanted()


class ModelCommands:
    """Takes and carries out load requests. `engine_of` returns a model's engine, `engines` are those in use."""

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
        """Take a request for this worker; None if there is none. Polls rarely while the worker is `busy`."""
        if busy and time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
            return None
        self._looked_at = time.monotonic()
        return self._context.load_requests.take(self._worker_id)

    def carry_out(self, request: LoadRequest, resident: Sequence[str]) -> bool:
        """Load or unload the model or a LoRA of it; True if it was loaded already, `resident` being the models ready to
        run.

        Raises what the engine raises; Cancelled when the worker drains, or the request was withdrawn."""
        if request.lora is not None:
            return self._carry_out_lora(request, request.lora)
        if request.action is LoadAction.UNLOAD:
            for engine in self._engines:
                loaded = [model.model_id for model in engine.resident()]
                for model_id in loaded if request.model_id is None else [request.model_id]:
                    engine.unload(model_id)
            return False
        spec = self._context.catalog.get(request.model_id)
        seconds = self._context.settings.load_timeout_seconds
        command = ModelCommand(request, self._context.load_requests, self._draining, seconds)
        engine, was_resident, stopped = self._engine_of(spec), spec.id in resident, False
        try:
            with time_limit(command):
                engine.load(spec, command)
        except Cancelled:
            stopped = True
        if command.is_withdrawn():
            if not was_resident:
                engine.unload(spec.id)
            raise Cancelled
        if stopped and not self._draining.is_set():
            raise GenerationTimeout(f"Loading took longer than {seconds:g} seconds (LOAD_TIMEOUT_SECONDS).")
        if stopped:
            raise Cancelled
        return was_resident

    def _carry_out_lora(self, request: LoadRequest, lora_id: str) -> bool:
        """Raises GenerationError if the model is not in memory any more; nothing is loaded for a LoRA alone."""
        spec = self._context.catalog.get(request.model_id)
        engine = self._engine_of(spec)
        if not isinstance(engine, LoraEngine):
            raise LoraIncompatible(f"{spec.id} takes no LoRAs.")
        if request.action is LoadAction.UNLOAD:
            return engine.unload_lora(spec.id, lora_id)
        seconds = self._context.settings.load_timeout_seconds
        command = ModelCommand(request, self._context.load_requests, self._draining, seconds)
        with time_limit(command):
            loaded = engine.load_lora(spec, lora_id, command)
        if not loaded:
            raise GenerationError(f"{spec.id} is not in memory any more. Load it first.")
        return False


class IdleModels:
    """`limit` returns the current MODEL_IDLE_SECONDS; 0 disables unloading."""

    def __init__(self, limit: Callable[[], float]) -> None:
        self._limit = limit
        self._used_at: dict[str, float] = {}

    def used(self, model_id: str) -> None:
        self._used_at[model_id] = time.monotonic()

    def overdue(self, resident: Sequence[str]) -> list[str]:
        """The `resident` models whose last use is at least the limit ago."""
        limit = self._limit()
        if not limit:
            return []
        now = time.monotonic()
        return [model for model in resident if now - self._used_at.setdefault(model, now) >= limit]

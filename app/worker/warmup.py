"""What a worker does before its first job (PRELOAD): imports the libraries of its models, and loads some of them."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable

from app.core.catalog import ModelSpec
from app.core.preload import Preload, parse_preload
from app.engines.base import Engine, ImportingEngine
from app.errors import Cancelled, ModelUnavailable
from app.services.context import AppContext
from app.worker.finalizer import to_public_error
from app.worker.model_commands import LoadControl
from app.worker.watchdog import time_limit

log = logging.getLogger("cyberimage.worker")


class Warmup:
    """`engine_of` returns a model's engine. It ends early, between two steps, when `draining` is set."""

    def __init__(
        self, context: AppContext, engine_of: Callable[[ModelSpec], Engine], draining: threading.Event
    ) -> None:
        self._context = context
        self._engine_of = engine_of
        self._draining = draining

    def run(self, *, blames_device: Callable[[Exception], bool]) -> Exception | None:
        """Import and load. A model that cannot be loaded is logged: its jobs fail with the same error. The error of a
        failed device is returned, and ends the warm-up."""
        preload = parse_preload(self._context.settings.preload, self._context.catalog)
        if not preload.libraries:
            return None
        started = time.monotonic()
        self._import()
        _exempt_from_collection()
        log.info("The libraries of the models were imported in %.1f s", time.monotonic() - started)
        return self._load(preload, blames_device)

    def _import(self) -> None:
        for spec in self._context.catalog:
            if spec.lane != "local" or self._draining.is_set():
                continue
            try:
                engine = self._engine_of(spec)
            except ModelUnavailable:  # no engine runs its source
                continue
            except Exception as error:
                log.error("The engine of %s cannot be used", spec.id, exc_info=error)
                return
            if isinstance(engine, ImportingEngine):
                engine.import_classes(spec)

    def _load(self, preload: Preload, blames_device: Callable[[Exception], bool]) -> Exception | None:
        for spec in preload.models:
            control = LoadControl(self._draining, self._context.settings.load_timeout_seconds)
            try:
                with time_limit(control):
                    self._engine_of(spec).load(spec, control)
                log.info("%s is loaded (PRELOAD)", spec.id)
            except Cancelled:
                if self._draining.is_set():
                    return None
                log.error("Loading %s took longer than LOAD_TIMEOUT_SECONDS; its first job loads it", spec.id)
            except Exception as error:  # noqa: BLE001 - as of a job
                if blames_device(error):
                    return error
                log.error("Could not load %s (PRELOAD): %s", spec.id, to_public_error(error, {}).detail)
        return None


def _exempt_from_collection() -> None:
    """Let the garbage collector pass over what is there now. The libraries' objects live as long as the process, and
    looking through them takes 0.4 s each time a model is removed."""
    gc.collect()
    gc.freeze()

"""The start of a worker process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

from app import lifeline
from app.config import ROOT, load_settings
from app.engines.registry import engine_factories
from app.engines.settings import EngineSettings
from app.errors import ConfigurationError
from app.monitoring.logs import configure_logging
from app.monitoring.resources import gpu_count
from app.services.installation import open_installation
from app.worker.loop import Worker

EXIT_CONFIGURATION = 2
EXIT_RECYCLE = 75  # sysexits' EX_TEMPFAIL: start a fresh one
ORPHAN_GRACE_SECONDS = 1.0


def main() -> int:
    """Run a worker until SIGTERM or SIGINT. Returns the exit status."""
    orphaned = lifeline.hold()
    try:
        settings = load_settings()
        configure_logging(settings, "worker")
        os.environ.update(settings.library_environment())  # before anything imports torch or huggingface_hub
        installation = open_installation(settings)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIGURATION
    factories = engine_factories(
        EngineSettings(
            root=ROOT,
            model_cache_dir=settings.model_cache_dir,
            dtype=settings.dtype,
            attention=settings.attention_backend,
        )
    )
    worker = Worker(installation, factories, device="cuda" if gpu_count() else "cpu")

    def stop(_signal: int, _frame: FrameType | None) -> None:
        worker.stop(ORPHAN_GRACE_SECONDS if orphaned.is_set() else settings.shutdown_grace_seconds)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    recycle = worker.run()
    installation.close()
    logging.shutdown()
    return EXIT_RECYCLE if recycle else 0

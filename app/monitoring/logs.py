"""Log files that several processes may write at once: app.log (all but requests), errors.log (errors), models.log
(engines), access.log (requests).

Each rotates at 1 MB and keeps five old ones. Lines are for people (`text`) or log collectors (`json`, `ecs`); all
include a record's `job_id` and `request_id`, passed with `extra=`, and the id of the trace that its thread works for.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from concurrent_log_handler import ConcurrentRotatingFileHandler
from pythonjsonlogger.json import JsonFormatter

from app.config import Settings
from app.monitoring.tracing import TraceFilter, configure_tracing

MAX_BYTES = 1_000_000
BACKUPS = 5
_CONTEXT = ("job_id", "request_id", "trace_id")
_REQUESTS = logging.Filter("cyberimage.requests")
# By name: the least level and the records of each file.
_FILES: dict[str, tuple[str, Callable[[logging.LogRecord], bool]]] = {
    "app": ("DEBUG", lambda record: not _REQUESTS.filter(record)),  # requests would rotate everything else away
    "errors": ("ERROR", lambda _: True),
    "models": ("DEBUG", lambda record: bool(logging.Filter("cyberimage.models").filter(record))),
    "access": ("DEBUG", lambda record: bool(_REQUESTS.filter(record))),
}


def configure_logging(settings: Settings, role: str) -> None:
    """Send every `cyberimage.*` logger to the log files and to standard error, and spans to the collector. `role` names
    the process in each line. Raises ConfigurationError.

    Call it once per process, as early as possible.
    """
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("cyberimage")
    logger.handlers.clear()
    logger.setLevel(settings.log_level)
    logger.propagate = False
    formatter = _formatter(settings.log_format, role)
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(formatter)
    console.addFilter(TraceFilter())
    logger.addHandler(console)
    for name, (level, wanted) in _FILES.items():
        handler = ConcurrentRotatingFileHandler(
            settings.log_dir / f"{name}.log", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
        handler.setLevel(level)
        handler.setFormatter(formatter)
        handler.addFilter(wanted)
        handler.addFilter(TraceFilter())
        logger.addHandler(handler)
    configure_tracing(settings, role)
    logging.captureWarnings(False)


def _formatter(style: str, role: str) -> logging.Formatter:
    if style == "ecs":
        return _EcsFormatter(role)
    if style == "json":
        formatter: logging.Formatter = JsonFormatter(
            "%(levelname)s %(name)s %(process)d %(message)s",
            rename_fields={"levelname": "level", "name": "logger", "process": "pid"},
            static_fields={"role": role},
            timestamp="time",
        )
        return formatter
    return _TextFormatter(role)


class _EcsFormatter(JsonFormatter):
    """Elastic Common Schema 8. What the schema has no field for, such as `job_id`, keeps its own name."""

    def __init__(self, role: str) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(process)d %(message)s",
            rename_fields={
                "levelname": "log.level",
                "name": "log.logger",
                "process": "process.pid",
                "exc_info": "error.stack_trace",
                "request_id": "http.request.id",
                "trace_id": "trace.id",
            },
            static_fields={"ecs.version": "8.17.0", "service.name": "cyberimage", "process.title": role},
            rename_fields_keep_missing=False,
            timestamp="@timestamp",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        processed: dict[str, Any] = super().process_log_record(log_data)
        return processed | {"log.level": str(processed["log.level"]).lower()}


class _TextFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, role: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {role}[%(process)d] %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        context = " ".join(f"{name}={getattr(record, name)}" for name in _CONTEXT if hasattr(record, name))
        return f"{line} [{context}]" if context else line

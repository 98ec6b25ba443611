"""Access log: one line per request, or for polled routes per so many. Without ids, query strings and bodies: what
identifies a line is its request id, which the lines of the job have too."""

from __future__ import annotations

import logging
import time
from itertools import count

from flask import Flask, Response, g, request

from app.api.http.headers import request_id
from app.api.routing import current_policy
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.config import Settings
from app.monitoring.requests import METHODS, OTHER

log = logging.getLogger("cyberimage.requests")


def register(app: Flask) -> None:
    """Log every request of `app`; after `request_metrics`, which notes when a request arrived."""
    access_log = AccessLog()

    @app.after_request
    def note(response: Response) -> Response:
        seconds = time.perf_counter() - g.started if "started" in g else 0.0
        access_log.note(app_context().settings, response, seconds)
        return response


class AccessLog:
    """Thread-safe. Counts the requests of polled routes to log the first and then every ACCESS_LOG_EVERY-th of each."""

    def __init__(self) -> None:
        self._seen: dict[str, count[int]] = {}

    def note(self, settings: Settings, response: Response, seconds: float) -> None:
        """Log the current request, answered with `response` after `seconds`."""
        if settings.access_log == "off" or not log.isEnabledFor(logging.INFO):
            return
        rule = request.url_rule.rule if request.url_rule is not None else OTHER
        polled = settings.access_log == "sampled" and response.status_code < 400 and current_policy().polled
        if polled and not self._is_sampled(rule, settings.access_log_every):
            return
        facts = {
            "method": request.method if request.method in METHODS else OTHER,
            "route": rule,
            "status": response.status_code,
            "facade": current_policy().facade,
            "ms": round(1000 * seconds, 1),
            "bytes": response.content_length,  # None: not known beforehand, as of a stream
            "client": client_id(),
            "sampled": settings.access_log_every if polled else 1,  # this line stands for so many requests
        }
        text = " ".join(f"{name}={'-' if value is None else value}" for name, value in facts.items())
        log.info("Request: %s", text, extra={**facts, "request_id": request_id()})

    def _is_sampled(self, rule: str, every: int) -> bool:
        seen = self._seen.get(rule)
        if seen is None:
            seen = self._seen.setdefault(rule, count())
        return next(seen) % every == 0

"""Measures every request, from its arrival in Flask until its response begins."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response, g, request

from app.api.server.context import api_context
from app.monitoring.requests import RequestMetrics


def register(app: Flask, facade: Callable[[], str]) -> None:
    """Must run before all other registrations: a request that an earlier hook answers would not be measured. `facade`
    is the name of the interface that the current request's route belongs to."""
    app.before_request(_start)
    app.after_request(lambda response: _stop(response, facade()))


def expect_routes(app: Flask, meter: RequestMetrics, facade_of: Callable[[str], str]) -> None:
    """Begin the counts of server errors of all routes at zero. `facade_of` is the interface of a route's endpoint."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            meter.expect(method, rule.rule, facade_of(rule.endpoint))


def _start() -> None:
    g.started = time.perf_counter()


def _stop(response: Response, facade: str) -> Response:
    rule = request.url_rule.rule if request.url_rule is not None else None
    seconds = time.perf_counter() - g.started if "started" in g else 0.0
    api_context().meter.observe(request.method, rule, response.status_code, seconds, facade)
    return response

"""The trace of a request: `traceparent` is taken over, and the request is a span of it, named by OpenTelemetry's
conventions for HTTP servers. Of routes that clients poll only requests that belong to a trace are spans.
"""

from __future__ import annotations

from flask import Flask, Response, g, request

from app.api.routing import policy_of
from app.core.trace_context import HEADER, parse
from app.monitoring.tracing import Span, work_for

_SERVER_ERROR = 500


def register(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_note)
    app.teardown_request(_end)


def _begin() -> None:
    parent, rule = parse(request.headers.get(HEADER)), request.url_rule
    work_for(parent)
    if parent is None and (rule is None or policy_of(request.endpoint).polled):
        return
    route = "" if rule is None else rule.rule
    about = {"http.request.method": request.method, "http.route": route, "url.scheme": request.scheme}
    g.span = Span(f"{request.method} {route}".strip(), parent, kind="server", attributes=about)
    work_for(g.span.context)


def _note(response: Response) -> Response:
    if "span" in g:
        g.traced_status = response.status_code
    return response


def _end(_: BaseException | None) -> None:
    """A call that waits for its job ends here without a status: what follows is the job's."""
    if "span" in g:
        span, status = g.pop("span"), g.pop("traced_status", None)
        failed = status is not None and status >= _SERVER_ERROR
        span.end(error=str(status) if failed else None, attributes={"http.response.status_code": status})
    work_for(None)

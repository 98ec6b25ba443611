"""Headers of every response, those of pages, and the request id that ties a response to its log lines.

A client may choose the id, if it is harmless in a log and a header.
"""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, request

from app.api.http.media_redirect import store_origin
from app.api.server.context import app_context
from app.config import Settings

HEADER = "X-Request-Id"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")

# No inline code anywhere: text from users can never become a script. `{store}`: where MEDIA_REDIRECT leads.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:{store}; media-src 'self' blob:{store}; object-src 'none';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
ALWAYS = {"X-Content-Type-Options": "nosniff"}
_FOR_PAGES = {
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


def register(app: Flask, settings: Settings) -> None:
    # Whether pages of other sites may embed our images: without authentication any browser could fetch them.
    shared = "cross-origin" if settings.cors_origin_list else "same-origin"
    app.after_request(lambda response: _complete(response, shared))


def _complete(response: Response, shared: str) -> Response:
    headers = response.headers
    headers[HEADER] = request_id()
    headers.update(ALWAYS)
    headers["Cross-Origin-Resource-Policy"] = "cross-origin" if "signed_seconds" in g else shared
    if response.mimetype == "text/html":  # nothing else is ever rendered as a document
        store = store_origin(app_context())
        headers["Content-Security-Policy"] = _POLICY.format(store=f" {store}" if store else "")
        headers.extend(_FOR_PAGES)
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response


def request_id() -> str:
    """The id of the current request: the client's own, or one made up at the first call."""
    if "request_id" not in g:
        wished = request.headers.get(HEADER, "")
        g.request_id = wished if _HARMLESS.fullmatch(wished) else uuid.uuid4().hex
    found: str = g.request_id
    return found

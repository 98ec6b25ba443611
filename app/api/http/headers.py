"""The headers that every response carries, and those of pages."""

from __future__ import annotations

from flask import Flask, Response

from app.api.http.request_id import HEADER, request_id
from app.config import Settings

# No inline code anywhere: text from users can never become a script.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
ALWAYS = {"X-Content-Type-Options": "nosniff"}
_FOR_PAGES = {
    "Content-Security-Policy": _POLICY,
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
    headers["Cross-Origin-Resource-Policy"] = shared
    if response.mimetype == "text/html":  # nothing else is ever rendered as a document
        headers.extend(_FOR_PAGES)
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response

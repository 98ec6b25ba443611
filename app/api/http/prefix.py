"""URL path prefix of the current request, as WSGI's SCRIPT_NAME and for app.services.urls.

It is what a trusted proxy says in X-Forwarded-Prefix, which takes it off the path, or that of PUBLIC_URL, which may be
taken off or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from app.config import Settings
from app.services.urls import clean_prefix, with_url_prefix

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class PathPrefix:
    """WSGI middleware, behind the one that takes over the headers of trusted proxies."""

    def __init__(self, app: Wsgi, settings: Settings) -> None:
        self._app = app
        self._own = clean_prefix(urlsplit(settings.public_url).path)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        prefix, path = clean_prefix(environ.get("SCRIPT_NAME", "")), environ.get("PATH_INFO", "")
        if not prefix and self._own:
            prefix = self._own
            if path == prefix or path.startswith(f"{prefix}/"):
                environ["PATH_INFO"] = path[len(prefix) :]
        environ["SCRIPT_NAME"] = prefix
        with with_url_prefix(prefix):  # answers that go on for longer remember it themselves
            return self._app(environ, start_response)

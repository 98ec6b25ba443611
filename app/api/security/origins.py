"""Cross-site request check: requests that a foreign page makes its visitor's browser send. Browsers name the
origin of a request; one that changes something is refused unless it comes from our own page, from CORS_ORIGINS, or from
no browser at all.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from app.config import Settings
from app.errors import ForeignOrigin

SAFE = frozenset({"GET", "HEAD"})


class OwnOrigin:
    def __init__(self, settings: Settings) -> None:
        self._others = frozenset(settings.cors_origin_list)

    def check(self, *, by_cookie: bool) -> None:
        """Raises ForeignOrigin. With `by_cookie`, which browsers attach by themselves, only our own page may."""
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"  # a GET that no CORS rule guards
        if request.method in SAFE and not is_socket:
            return
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site == "same-origin" or (site is None and origin is not None and _is_ours(origin)):
            return
        if not by_cookie and (self._allows(origin) or (origin is None and site in (None, "none"))):
            return
        raise ForeignOrigin(
            "The request comes from another site. Allow it in CORS_ORIGINS, or send a token; a session's cookie is good"
            " for this server's own page only."
        )

    def _allows(self, origin: str | None) -> bool:
        return origin is not None and bool({"*", origin.lower()} & self._others)


def _is_ours(origin: str) -> bool:
    """By host and port alone: behind a proxy the scheme may be another one."""
    try:
        return urlsplit(origin).netloc.lower() == (request.environ.get("HTTP_HOST") or "").lower() != ""
    except ValueError:
        return False

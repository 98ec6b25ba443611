"""MEDIA_REDIRECT: a file is fetched from the media store by a URL that is valid for a short while.

Scripts of pages, whose requests browsers mark, get files from here: they could read no other host's without its
consent. So does who asks for a version or a part of one by our ETag, which the store does not know.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, g, request

from app.api.server.context import app_context
from app.errors import MediaUnreadable
from app.services.context import AppContext

_OURS = ("If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "If-Range")
_SAMPLE = "0000/00/00/sample.png"


def redirect_to_store(name: str, mime_type: str, download_name: str | None) -> Response | None:
    """A redirect to the file `name` of the media store; None where it is to be sent from here. To be called after the
    client was let in."""
    context = app_context()
    settings = context.settings
    if not settings.media_redirect or request.method != "GET" or any(each in request.headers for each in _OURS):
        return None
    if request.headers.get("Sec-Fetch-Dest") == "empty":
        return None
    seconds = min(settings.media_redirect_seconds, g.get("signed_seconds", settings.media_redirect_seconds))
    url = context.images.url(name, max(1, seconds), mime_type=mime_type, download_name=download_name)
    if url is None:
        return None
    # Kept for half of the time, so that the URL is still valid when it is used.
    headers = {"Location": url, "Cache-Control": f"private, max-age={seconds // 2}", "Vary": "Sec-Fetch-Dest"}
    return Response(status=307, headers=headers)


def store_origin(context: AppContext) -> str:
    """The scheme and host of redirects, for the Content-Security-Policy; empty without them."""
    if not context.settings.media_redirect:
        return ""
    try:
        parts = urlsplit(context.images.url(_SAMPLE, 1, mime_type="image/png") or "")
    except MediaUnreadable:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

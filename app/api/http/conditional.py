"""Conditional and range requests, as RFC 9110 has them (sections 13.2.2 and 14.2)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_date, parse_etags, quote_etag

from app.errors import PreconditionFailed

_RANGES = re.compile(r"bytes=(.+)", re.IGNORECASE)
_RANGE = re.compile(r"(?:(\d{1,30})-(\d{0,30})|-(\d{1,30}))")

Range = tuple[int, int]  # first and last byte


def register(app: Flask) -> None:
    """Send static files whole, which a server may always do: what Flask has for them answers 416 to a range in a unit
    that it does not know, where RFC 9110 wants it ignored."""

    send_static = app.view_functions["static"]

    def whole(**path: Any) -> Any:
        request.environ.pop("HTTP_RANGE", None)
        return send_static(**path)

    app.view_functions["static"] = whole


def check_preconditions(etag: str, modified: datetime | None = None) -> None:
    """Raises PreconditionFailed when the client means another version than the one with this (strong) `etag`."""
    wanted, unmodified = request.headers.get("If-Match"), request.headers.get("If-Unmodified-Since")
    if wanted is not None:
        tags = parse_etags(wanted)
        holds = tags.star_tag or tags.is_strong(etag)
    else:
        since = parse_date(unmodified)
        holds = modified is None or since is None or modified <= since
    if not holds:
        raise PreconditionFailed(
            "If-Match or If-Unmodified-Since does not match the current version: fetch it again and send its ETag."
        )


def conditional(response: Response, *, ranges: bool) -> Response:
    """`response` (whole, with its ETag) as the headers of the current request ask for it: 200, 206 or 304. With
    `ranges` a part of it may be asked for. Raises PreconditionFailed or RequestedRangeNotSatisfiable."""
    etag, modified = response.get_etag()[0] or "", response.last_modified
    try:
        check_preconditions(etag, modified)
        asked = _asked_ranges(etag, modified) if ranges else None
        if _is_unchanged(etag, modified):
            response.make_conditional({"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": quote_etag(etag)})
            return response
        size = response.content_length or 0
        part = _one_of(asked, size) if asked is not None else None
    except (PreconditionFailed, RequestedRangeNotSatisfiable):
        response.close()
        raise
    if ranges:
        response.accept_ranges = "bytes"
    if part is not None:
        environ = {"REQUEST_METHOD": "GET", "HTTP_RANGE": f"bytes={part[0]}-{part[1]}"}
        response.make_conditional(environ, accept_ranges=True, complete_length=size)
    return response


def _is_unchanged(etag: str, modified: datetime | None) -> bool:
    held, since = request.headers.get("If-None-Match"), parse_date(request.headers.get("If-Modified-Since"))
    if held is not None:
        tags = parse_etags(held)
        return tags.star_tag or tags.contains_weak(etag)
    return modified is not None and since is not None and modified <= since


def _asked_ranges(etag: str, modified: datetime | None) -> list[tuple[str, str, str]] | None:
    """The ranges of `Range`, as they are written; None when the whole is sent, as for any not understood."""
    found = _RANGES.fullmatch(request.headers.get("Range", "").strip())
    if request.method != "GET" or found is None or not _if_range_holds(etag, modified):
        return None
    specs = [_RANGE.fullmatch(spec.strip()) for spec in found[1].split(",")]
    groups = [(spec[1] or "", spec[2] or "", spec[3] or "") for spec in specs if spec is not None]
    if len(groups) < len(specs) or any(last and int(last) < int(first) for first, last, _ in groups):
        return None
    return groups


def _if_range_holds(etag: str, modified: datetime | None) -> bool:
    held = request.headers.get("If-Range")
    if held is None:
        return True
    return held.strip() == quote_etag(etag) or (modified is not None and parse_date(held) == modified)


def _one_of(asked: list[tuple[str, str, str]], size: int) -> Range | None:
    """The one part that answers `asked`; None when they lie apart, for which the whole is sent. Raises
    RequestedRangeNotSatisfiable when there is none."""
    parts = sorted(part for spec in asked if (part := _within(*spec, size)) is not None)
    if not parts:
        raise RequestedRangeNotSatisfiable(size)
    first, last = parts[0]
    for start, end in parts[1:]:
        if start > last + 1:
            return None
        last = max(last, end)
    return first, last


def _within(first: str, last: str, suffix: str, size: int) -> Range | None:
    """The bytes that one range names of `size`; None when there are none."""
    if suffix:
        start, end = max(0, size - int(suffix)), size - 1
    else:
        start, end = int(first), min(int(last or size), size - 1)
    return (start, end) if start <= end else None

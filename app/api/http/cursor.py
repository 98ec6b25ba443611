"""Pagination cursor of the gallery: where the next page starts, as an opaque string."""

from __future__ import annotations

import base64
import math
import re

from app.errors import FieldError, InvalidRequest

Place = tuple[float, str]  # created_at and id of the last item of the page before

_ID = re.compile(r"[0-9a-f]{32}")


def encode(place: Place | None) -> str | None:
    if place is None:
        return None
    return base64.urlsafe_b64encode(f"{place[0]!r} {place[1]}".encode()).decode().rstrip("=")


def decode(cursor: str | None) -> Place | None:
    """Raises InvalidRequest for anything that `encode` did not make."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        created_at, item_id = text.split(" ")
        place = (float(created_at), item_id)
    except ValueError:
        place = (math.nan, "")
    if not math.isfinite(place[0]) or not _ID.fullmatch(place[1]):
        wrong = FieldError("cursor", "is not a cursor of this API; send the next_cursor of the page before")
        raise InvalidRequest(f"{wrong.field} {wrong.message}.", errors=[wrong])
    return place

"""The id that ties a response to its log lines. A client may choose it, if it is harmless in a log and a header."""

from __future__ import annotations

import re
import uuid

from flask import g, request

HEADER = "X-Request-Id"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """The id of the present request: the client's own, or one made up at the first call."""
    if "request_id" not in g:
        wished = request.headers.get(HEADER, "")
        g.request_id = wished if _HARMLESS.fullmatch(wished) else uuid.uuid4().hex
    found: str = g.request_id
    return found

"""Bodies of lines: a CSV or JSONL file sent as it is, with the other members of the body in the query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.errors import FieldError, InvalidRequest

FORMATS = {"text/csv": "csv", "application/jsonl": "jsonl", "application/x-ndjson": "jsonl"}
LARGEST_BYTES = 8 * 1024 * 1024


def _flag(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false"):
        raise ValueError("must be true or false")
    return text.lower() in ("1", "true")


_MEMBERS: Mapping[str, Callable[[str], Any]] = {
    "name": str,
    "model_id": str,
    "webhook_url": str,
    "priority": int,
    "max_seconds": float,
    "max_spend": float,
    "dry_run": _flag,
    "skip_invalid": _flag,
}


def body_of_lines(data: bytes, mimetype: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The body that JSON would hold. Raises InvalidRequest."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest("The file is not UTF-8.") from None
    body: dict[str, Any] = {"lines": {"format": FORMATS[mimetype], "text": text}}
    for name, value in query.items():
        if name not in _MEMBERS:
            raise InvalidRequest(errors=[FieldError(name[:100], f"is none of {', '.join(_MEMBERS)}")])
        try:
            body[name] = _MEMBERS[name](value)
        except ValueError:
            raise InvalidRequest(f"{name} has no usable value.", errors=[FieldError(name, "is not usable")]) from None
    return body

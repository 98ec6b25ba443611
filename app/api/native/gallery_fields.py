"""Kinds of values that filters of the gallery have, in queries and in bodies."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema

from app.core.tags import LONGEST_TAG, tag_of

DELETION = "^[0-9a-f]{32}$"
_DATE = r"^\d{4}-\d{2}-\d{2}"
_ANY_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)

Plain = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]


def _read(text: object) -> object:
    """A time as written in ISO 8601; pydantic would also take a bare number for the seconds since 1970."""
    if not isinstance(text, str):
        return text
    if re.match(_DATE, text) is None:
        raise ValueError("must be a date or a time such as 2026-01-31 or 2026-01-31T12:00:00Z")
    return _ANY_TIME.validate_python(text)


Moment = Annotated[datetime, BeforeValidator(_read), WithJsonSchema({"type": "string", "pattern": _DATE})]


def _checked(text: str) -> str:
    return tag_of(text).label


TagText = Annotated[str, Field(max_length=4 * LONGEST_TAG), AfterValidator(_checked)]


def seconds_of(time: datetime | None) -> float | None:
    """Since the epoch; a time without a zone is UTC."""
    return None if time is None else (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()

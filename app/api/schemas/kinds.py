"""Kinds of values that many answers hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC, ISO 8601.")]
Path = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

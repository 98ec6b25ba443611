"""Retention: removes the oldest first, except favourites"""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.config.kinds import LIVE


class Retention(BaseModel):
    cleanup_interval_seconds: float = Field(
        600,
        ge=1,
        le=86_400,
        description="Seconds between two clean-ups: retention, files without a row, rows of dead workers.",
        json_schema_extra=LIVE,
    )
    retention_days: float = Field(
        0,
        ge=0,
        le=36_500,
        description="Days after which ended jobs and their pictures are removed; 0 = never.",
        json_schema_extra=LIVE,
    )
    bin_days: float = Field(
        30,
        ge=0,
        le=36_500,
        description="Days for which deleted pictures lie in the bin and can be restored; 0 = until the next clean-up."
        " What lies there takes space, and is removed earlier when RETENTION_* asks for room.",
        json_schema_extra=LIVE,
    )
    retention_max_images: int = Field(
        0, ge=0, description="Most pictures; the oldest beyond are removed; 0 = no limit.", json_schema_extra=LIVE
    )
    retention_max_bytes: int = Field(
        0,
        ge=0,
        description="Most bytes of pictures; the oldest beyond are removed; 0 = no limit.",
        json_schema_extra=LIVE,
    )

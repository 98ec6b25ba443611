"""Retention: what goes, oldest first; favourites stay"""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.config.kinds import LIVE


class Retention(BaseModel):
    retention_days: float = Field(
        0,
        ge=0,
        le=36_500,
        description="Days after which ended jobs and their pictures are removed; 0 = never.",
        json_schema_extra=LIVE,
    )
    retention_max_images: int = Field(
        0, ge=0, description="Pictures past which the oldest are removed; 0 = no limit.", json_schema_extra=LIVE
    )
    retention_max_bytes: int = Field(
        0,
        ge=0,
        description="Bytes of pictures past which the oldest are removed; 0 = no limit.",
        json_schema_extra=LIVE,
    )

"""Pictures and the gallery."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.api.schemas.jobs import ErrorBody, ImageRef
from app.api.schemas.kinds import Path, Time
from app.core.catalog import Media
from app.core.job import JobStatus
from app.core.safety import SafetyResult


class ImageMetadata(ImageRef):
    job_id: str
    model_id: str
    created_at: Time
    favorite: bool = Field(description="Retention leaves it alone.")
    manifest: dict[str, Any] = Field(description="Everything needed to make the picture again.")


class GalleryItem(BaseModel):
    """A picture, or a generation that has none: then `image_id` and what belongs to it are null."""

    image_id: str | None
    job_id: str
    status: JobStatus
    prompt: str
    model_id: str
    media: Media
    mime_type: str | None
    created_at: Time
    url: Path | None
    thumbnail_url: Path | None
    metadata_url: Path | None
    width: int | None
    height: int | None
    seed: int | None
    safety_filter_result: SafetyResult | None
    favorite: bool
    error: ErrorBody | None


class GalleryBody(BaseModel):
    images: list[GalleryItem]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class FavoriteBody(BaseModel):
    image_id: str
    favorite: bool

"""Models of remote providers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.api.schemas.jobs import JobBody
from app.api.schemas.kinds import Path, Time
from app.core.catalog import Media


class RemoteModelBody(BaseModel):
    model: str = Field(description="`owner/name`.")
    model_id: str = Field(description="What its jobs and pictures are listed under.")
    name: str
    media: Media
    description: str
    cover_image_url: str | None
    run_count: int | None
    first_frame: str | None = Field(description="Its input that takes a picture to start from, whatever it is called.")
    schema_url: Path


class RemoteModelsBody(BaseModel):
    models: list[RemoteModelBody]
    refreshed_at: Time | None = Field(description="When the provider last said so; null when it could not be asked.")


class RemoteSchemaBody(BaseModel):
    model: str
    version: str | None
    input_schema: dict[str, Any] = Field(description="JSON Schema of `input`.")
    required: list[str]
    defaults: dict[str, Any] = Field(description="What is filled in where `input` says nothing.")
    files: list[str] = Field(description="Inputs that are files: a URL, a data URI, or an `image_id` of the gallery.")
    first_frame: str | None = Field(description="The one of them that takes a picture to start from.")


class RemoteJobBody(JobBody):
    """A job as elsewhere, and how fetching its files went."""

    download_attempted: bool
    download_retries: int
    download_error: str | None

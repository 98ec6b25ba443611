"""The catalogue."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.core.catalog import Lane, Media


class DownloadBody(BaseModel):
    downloaded_bytes: int
    total_bytes: int
    eta_seconds: float | None = Field(description="Until all is here; null when that is not known.")


class ModelBody(BaseModel):
    id: str
    name: str
    repo: str
    description: str
    source: str
    requires_auth: bool
    media: Media
    lane: Lane = Field(description="local: a model in memory here; remote: a provider's.")
    tasks: list[str]
    steps: dict[str, int] = Field(description='`{"fixed": n}` or `{"min", "max", "default"}`.')
    defaults: dict[str, Any]
    limits: dict[str, Any]
    negative_prompt: bool = Field(description="Whether the model has one.")
    example_prompts: list[str]
    hint: str
    available: bool = Field(description="Its weights are on this machine, whole.")
    bytes: int | None = Field(
        description="What its files take on this machine's disk, also when some are missing; null of a remote model."
    )
    downloading: DownloadBody | None = Field(description="While a job fetches it, or an order to load it.")
    loaded: bool = Field(description="A live worker holds it in memory.")


class ModelsBody(BaseModel):
    default: str
    prompt_max_chars: int
    models: list[ModelBody]

"""Upscalers."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.core.response_body import ResponseBody
from app.services.models.upscalers import UpscalerState


class UpscalerBody(ResponseBody):
    id: str = Field(description="What `model` of `POST /api/image/<id>/upscale` takes.")
    name: str
    aliases: list[str]
    repo: str
    description: str
    source: str
    available: bool = Field(description="Its weights are on this machine.")
    loaded: bool = Field(description="A live worker holds it in memory.")

    @classmethod
    def of(cls, state: UpscalerState) -> Self:
        return cls.read(state, state.spec, aliases=list(state.spec.options.aliases))


class UpscalersBody(ResponseBody):
    upscalers: list[UpscalerBody]
    factors: list[int] = Field(description="By which a picture can be enlarged.")
    latent_modes: list[str] = Field(
        description="What `model` of a second pass may say too: its latents are enlarged, and not the picture."
    )

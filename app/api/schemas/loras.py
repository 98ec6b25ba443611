"""LoRAs."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LoraBody(BaseModel):
    id: str = Field(description="What a request names it by.")
    stands_for: str | None = Field(description="The file or repo behind a name that was given by hand.")
    available: bool = Field(description="It is on this machine and can be used.")
    family: str | None = Field(description="The models it was made for, in words; null when its file does not say.")
    models: list[str] = Field(description="The ids of the models here that are of that family.")
    bytes: int | None
    rank: int | None
    base_model: str | None = Field(description="As its maker wrote it into the file.")
    problem: str | None = Field(description="Why it cannot be used.")


class LorasBody(BaseModel):
    loras: list[LoraBody]

"""LoRAs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field

from app.core.loras import FAMILIES
from app.core.response_body import ResponseBody
from app.services.models.loras import KnownLora


class LoraBody(ResponseBody):
    id: str = Field(description="What a request names it by.")
    stands_for: str | None = Field(description="The file or repo behind a name that was given by hand.")
    available: bool = Field(description="It is on this machine, or that of a worker, and can be used.")
    family: str | None = Field(description="The models it was made for, in words; null when its file does not say.")
    models: list[str] = Field(description="The ids of the models here that are of that family.")
    bytes: int | None
    rank: int | None
    base_model: str | None = Field(description="As its maker wrote it into the file.")
    trigger_words: list[str] = Field(
        description="Words for the prompt, as its maker wrote them into the file, else the captions' most frequent."
    )
    problem: str | None = Field(description="Why it cannot be used.")

    @classmethod
    def of(cls, known: KnownLora) -> Self:
        file = known.card
        unread = {"bytes": None, "rank": None, "base_model": None} if file is None else {}
        words = list(file.trigger_words) if file else []
        family = FAMILIES.get(known.known_family, known.known_family) if known.known_family else None
        return cls.read(known, file, family=family, models=list(known.models), trigger_words=words, **unread)


class LorasBody(ResponseBody):
    loras: list[LoraBody]

    @classmethod
    def of(cls, listing: Iterable[KnownLora]) -> Self:
        return cls(loras=[LoraBody.of(known) for known in listing])

"""Textual-inversion embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field

from app.core.response_body import ResponseBody
from app.services.models.embeddings import KnownEmbedding


class EmbeddingBody(ResponseBody):
    id: str = Field(description="Its name in prompts, as `<name>` or as a word.")
    available: bool = Field(description="Its file can be used.")
    vectors: int | None = Field(description="How many tokens of a prompt it takes the place of.")
    widths: list[int] = Field(description="Numbers for a token, of each text encoder that it is for.")
    models: list[str] = Field(description="The ids of the models here whose text encoders it fits.")
    bytes: int | None
    problem: str | None = Field(description="Why it cannot be used.")

    @classmethod
    def of(cls, known: KnownEmbedding) -> Self:
        file = known.file
        unread = {"vectors": None, "bytes": None} if file is None else {}
        widths = [] if file is None else list(file.widths.values())
        available = file is not None
        return cls.read(known, file, available=available, widths=widths, models=list(known.models), **unread)


class EmbeddingsBody(ResponseBody):
    embeddings: list[EmbeddingBody]

    @classmethod
    def of(cls, listing: Iterable[KnownEmbedding]) -> Self:
        return cls(embeddings=[EmbeddingBody.of(known) for known in listing])

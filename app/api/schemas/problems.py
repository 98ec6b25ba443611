"""Errors."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.api.schemas.kinds import Path


class FieldProblem(BaseModel):
    field: str = Field(description="Dotted path, e.g. `settings.width`.")
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 words it."""

    type: Path
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it.")
    code: str = Field(description="Stable: branch on this.")
    request_id: str
    errors: list[FieldProblem]

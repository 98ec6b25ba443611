"""Errors."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.core.response_body import Path, ResponseBody
from app.errors import CyberImageError
from app.services.urls import url


class FieldProblem(ResponseBody):
    field: str = Field(description="Dotted path, e.g. `settings.width`.")
    message: str


class Problem(ResponseBody):
    """An error, as RFC 9457 words it."""

    type: Path
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it.")
    code: str = Field(description="Stable: branch on this.")
    request_id: str
    errors: list[FieldProblem]

    @classmethod
    def of(cls, error: CyberImageError, *, request_id: str, status: int | None = None) -> Self:
        """`status` is the error's own, unless another is given."""
        return cls.read(
            error,
            type=url(f"/docs#{error.code}"),
            status=status or error.status,
            request_id=request_id,
            errors=[FieldProblem.read(wrong) for wrong in error.errors],
        )

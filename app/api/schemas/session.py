"""Signing in."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from app.core.access import Identity, Role
from app.core.response_body import ResponseBody


class SessionBody(ResponseBody):
    mode: Literal["none", "keys", "huggingface"] = Field(description="With `none` every client is an administrator.")
    signed_in: bool
    name: str | None = Field(description="Of the key or the user; null when not signed in.")
    role: Role | None

    @classmethod
    def of(cls, identity: Identity | None, *, mode: str) -> Self:
        """`identity` is None when not signed in."""
        unknown = {"name": None, "role": None} if identity is None else {}
        return cls.read(identity, mode=mode, signed_in=identity is not None, **unknown)

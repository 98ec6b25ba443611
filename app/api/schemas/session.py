"""Signing in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.core.access import Role


class SessionBody(BaseModel):
    mode: Literal["none", "keys", "huggingface"] = Field(description="With `none` every client is an administrator.")
    signed_in: bool
    name: str | None = Field(description="Of the key or the user; null when not signed in.")
    role: Role | None

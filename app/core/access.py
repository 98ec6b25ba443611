"""Identities, roles and ownership checks. Independent of tokens and HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class Identity:
    """The client that sent the request. With AUTH_MODE=none all clients are admins, distinguished by address.

    `client_id` owns their jobs: `key:<id>`, `hf:<name>` or `ip:<address>`. `name` is for display. Limits are in
    Flask-Limiter's notation; None = the general limit, empty = no limit.
    """

    client_id: str
    role: Role
    name: str
    rate_limit_generate: str | None = None
    rate_limit_read: str | None = None

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def scope(self) -> str | None:
        """The owner that every list is filtered by; None = no filter."""
        return None if self.is_admin else self.client_id

    def may_touch(self, owner: str | None) -> bool:
        """True if this identity may see a resource of `owner`; None (unknown owner) is visible to admins only."""
        return self.is_admin or owner == self.client_id


MAX_KEY_NAME = 100  # characters


def check_key_name(text: str) -> str:
    """The name of a key, trimmed. Raises ValueError."""
    if not text.isprintable() or not 0 < len(text.strip()) <= MAX_KEY_NAME:
        raise ValueError(f"use 1 to {MAX_KEY_NAME} printable characters")
    return text.strip()


@dataclass(frozen=True)
class ApiKey:
    """A row of api_keys. Times are seconds since the epoch, UTC; `last_used_at` is coarse."""

    id: int
    name: str
    role: Role
    sha256: str
    created_at: float
    rate_limit_generate: str | None = None
    rate_limit_read: str | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None

    @property
    def identity(self) -> Identity:
        return Identity(f"key:{self.id}", self.role, self.name, self.rate_limit_generate, self.rate_limit_read)

"""API keys."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from app.core.access import ApiKey, Role
from app.core.response_body import ResponseBody, Time
from app.core.times import iso, iso_or_none


class KeyBody(ResponseBody):
    key_id: int
    name: str
    role: Role
    created_at: Time
    last_used_at: Time | None = Field(description="To about ten minutes; null when it never was used.")
    revoked_at: Time | None
    rate_limit_generate: str | None = Field(description="Null: RATE_LIMIT_GENERATE holds. Empty: no limit.")
    rate_limit_read: str | None = Field(description="Null: RATE_LIMIT_READ holds. Empty: no limit.")

    @classmethod
    def of(cls, key: ApiKey, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        return cls.read(
            key,
            key_id=key.id,
            created_at=iso(key.created_at),
            last_used_at=iso_or_none(key.last_used_at),
            revoked_at=iso_or_none(key.revoked_at),
            **more,
        )


class CreatedKeyBody(KeyBody):
    token: str = Field(description="The secret, shown this once.")


class KeysBody(ResponseBody):
    keys: list[KeyBody] = Field(description="Oldest first, revoked ones too.")

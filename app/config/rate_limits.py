"""Rate limits, per client"""

from __future__ import annotations

import re

from pydantic import BaseModel, Field, SecretStr, field_validator

from app.config.kinds import LIVE

MOST_LIMITS = 10
MOST_CHARACTERS = 200
_SEPARATOR = re.compile("[,;|]")
# Checked before the library parses it, whose expression for lists takes exponential time to refuse some of them.
_ONE_LIMIT = re.compile(r"\s*[0-9]+\s*(?:/|per)\s*(?:[0-9]+\s*)?[a-z]+\s*", re.IGNORECASE)


class RateLimits(BaseModel):
    rate_limit_generate: str = Field(
        "",
        description="Images that a client may request, e.g. 10 per minute; 200 per day. Empty = no limit.",
        json_schema_extra=LIVE,
    )
    rate_limit_read: str = Field(
        "",
        description="Other requests of a client, e.g. 600 per minute. A gallery page sends fifty. Empty = no limit.",
        json_schema_extra=LIVE,
    )
    rate_limit_storage_url: SecretStr = Field(
        SecretStr(""), description="Redis to count requests in, as redis://host:6379/0; empty = the API's memory."
    )

    @field_validator("rate_limit_generate", "rate_limit_read")
    @classmethod
    def _limits(cls, text: str) -> str:
        return check_limit(text)

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _limits_storage(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("use redis://host:6379/0, rediss:// or redis+unix://, or leave it empty")
        return url

    @property
    def rate_limit_storage(self) -> str:
        return self.rate_limit_storage_url.get_secret_value()


def check_limit(text: str) -> str:
    """Returns `text` if it is empty or in Flask-Limiter's notation: at most MOST_LIMITS limits in MOST_CHARACTERS, with
    amounts of at least 1. Raises ValueError."""
    if text:
        parts = _SEPARATOR.split(text) if len(text) <= MOST_CHARACTERS else []
        if not 0 < len(parts) <= MOST_LIMITS:
            raise ValueError(f"use at most {MOST_LIMITS} limits and {MOST_CHARACTERS} characters")
        for part in parts:
            _check_one(part)
    return text


def _check_one(limit: str) -> None:
    """Raises ValueError."""
    from limits import parse  # imported here: workers do not need it

    try:
        if not _ONE_LIMIT.fullmatch(limit):
            raise ValueError
        amount = parse(limit).amount
    except ValueError:
        raise ValueError('use "10 per minute", or several limits separated by semicolons') from None
    if not amount:
        raise ValueError("use an amount of at least 1: with 0 every request would be refused")

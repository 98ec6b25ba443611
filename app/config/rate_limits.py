"""Rate limits, per client"""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr, field_validator

from app.config.kinds import LIVE


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
    """Returns `text` if it is empty or in Flask-Limiter's notation. Raises ValueError."""
    if text:
        from limits import parse_many  # imported here: workers do not need it

        try:
            parse_many(text)
        except ValueError:
            raise ValueError('use "10 per minute", or several limits separated by semicolons') from None
    return text

"""Security"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.config import addresses
from app.config.kinds import Seconds


class Security(BaseModel):
    auth_mode: Literal["none", "keys", "huggingface"] = Field(
        "none",
        description="Who may use the API: everyone, clients with an API key (cyberimage keys), or hub users.",
    )
    auth_users: str = Field(
        "", description="Hugging Face users and organisations with access, separated by commas; empty = all."
    )
    auth_admins: str = Field("", description="Hugging Face users that are admins, separated by commas.")
    auth_cache_seconds: Seconds = Field(600, description="How long the hub's answer about a token is cached.")
    auth_failures_per_minute: int = Field(
        20, ge=0, description="Invalid tokens per address and minute; after that unknown tokens get 429. 0 = no limit."
    )
    session_hours: float = Field(
        168, gt=0, le=24 * 365, description="How long a session of a user signed in on the page lasts."
    )
    trusted_hosts: str = Field(
        "",
        description="Host names that the server accepts in requests, besides localhost and HOST, separated by commas."
        " *.example.org allows all subdomains, * any name. On a wildcard HOST, IP addresses are accepted too.",
    )
    signed_url_seconds: int = Field(
        3600,
        ge=0,
        le=604_800,
        description="How long signed URLs of pictures and videos last in webhooks and responses, and the most that a"
        " client may ask for; 0 = none are signed and none are valid.",
    )
    metrics_public: bool = Field(False, description="Serve /metrics without a token even if AUTH_MODE is set.")

    @property
    def auth_user_names(self) -> frozenset[str]:
        return _names(self.auth_users)

    @property
    def auth_admin_names(self) -> frozenset[str]:
        return _names(self.auth_admins)

    @field_validator("trusted_hosts")
    @classmethod
    def _hosts(cls, text: str) -> str:
        return addresses.trusted_hosts(text)

    @property
    def trusted_host_names(self) -> frozenset[str]:
        return _names(self.trusted_hosts)


def _names(text: str) -> frozenset[str]:
    """Case-insensitive names, such as users of the hub and hosts."""
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())

"""Security"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.config import addresses
from app.config.kinds import Seconds


class Security(BaseModel):
    auth_mode: Literal["none", "keys", "huggingface"] = Field(
        "none",
        description="Who may use the API: everybody, holders of a key (see cyberimage keys), or of a hub token.",
    )
    auth_users: str = Field(
        "", description="Hugging Face users and organisations that may come in, separated by commas; empty = all."
    )
    auth_admins: str = Field("", description="Hugging Face users that are admins, separated by commas.")
    auth_cache_seconds: Seconds = Field(600, description="How long the hub's word about a token is believed.")
    auth_failures_per_minute: int = Field(
        20, ge=0, description="Wrong tokens per address and minute; past that unknown tokens get 429. 0 = no limit."
    )
    session_hours: float = Field(
        168, gt=0, le=24 * 365, description="How long somebody who signed in on the page stays signed in."
    )
    trusted_hosts: str = Field(
        "",
        description="Names that the server answers to, besides localhost and HOST, separated by commas: the Host header"
        " of browsers. *.example.org takes all below, * anything. On a wildcard HOST it answers to addresses too.",
    )
    metrics_public: bool = Field(False, description="Whether /metrics needs no token although AUTH_MODE is set.")

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
    """Names that do not care for case, as it is with users of the hub and with hosts."""
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())

"""Webhooks"""

from __future__ import annotations

import base64

from pydantic import BaseModel, Field, SecretStr, field_validator

from app.config.kinds import LIVE, Seconds


class Webhooks(BaseModel):
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Webhook signing secret, as whsec_ and base64; empty = generated and stored. Several, separated by"
        " spaces, all sign: so a secret is changed without a message that receivers refuse.",
    )
    webhook_allow_private: bool = Field(
        False, description="Allow webhooks to private and loopback addresses. Clients can then reach your network."
    )
    webhook_timeout_seconds: Seconds = Field(10, description="Time limit of a webhook request.")
    webhook_max_attempts: int = Field(
        9,
        ge=1,
        le=9,
        description="Attempts to deliver a webhook message before it is DEAD; 9 take about a day.",
        json_schema_extra=LIVE,
    )
    webhook_concurrency: int = Field(256, ge=2, le=1024, description="Most open webhook requests; each uses a thread.")

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_key(cls, secret: SecretStr) -> SecretStr:
        for text in secret.get_secret_value().split():
            prefix, _, key = text.partition("_")
            if prefix != "whsec" or not 24 <= _decoded_length(key) <= 64:
                raise ValueError(
                    "use whsec_ followed by the base64 of 24 to 64 random bytes (several separated by spaces), or leave"
                    " it empty"
                )
        return secret


def _decoded_length(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except ValueError:
        return 0

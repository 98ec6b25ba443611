"""Environment and preset, which set other defaults"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Profile(BaseModel):
    environment: Literal["development", "production"] = Field(
        "development",
        description="Purpose of this installation. production logs as JSON, keeps prompts out of the log, and refuses"
        " CORS_ORIGINS=* and WEBHOOK_ALLOW_PRIVATE=true. development shows what an unexpected error says to programs on"
        " this machine.",
    )
    preset: Literal["low", "balanced", "high", "fast"] = Field(
        "balanced", description="Size of the machine; sets the defaults of several other settings (see the table)."
    )

"""Environment and preset: what other defaults follow from"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Profile(BaseModel):
    environment: Literal["development", "production"] = Field(
        "development",
        description="What this installation is for. production logs for machines, keeps prompts out of the log, and"
        " refuses CORS_ORIGINS=* and WEBHOOK_ALLOW_PRIVATE=true.",
    )
    preset: Literal["low", "balanced", "high"] = Field(
        "balanced", description="Size of the machine; sets the defaults of several other settings (see the table)."
    )

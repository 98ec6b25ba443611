"""Generation"""

from __future__ import annotations

from pydantic import BaseModel, Field


class Generation(BaseModel):
    previews: bool = Field(True, description="Show what a picture looks like while it is drawn.")
    prompt_max_chars: int = Field(500, ge=1, le=100_000, description="Longest prompt accepted, in characters.")

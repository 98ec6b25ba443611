"""Input: prompt screening"""

from __future__ import annotations

import json
import re
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.config.kinds import LIVE


class Input(BaseModel):
    suspicious_input: Literal["refuse", "log", "off"] = Field(
        "refuse",
        description="What happens to prompts that match an attack pattern: refuse = 400 suspicious_input, log = only a"
        " line in the log, off = no check.",
        json_schema_extra=LIVE,
    )
    suspicious_patterns: str = Field(
        "",
        description='The patterns, as JSON {"name": "regular expression"}, case ignored; empty = the built-in list'
        " (core/prompt_screening.py): script tags, javascript: URIs, template injection, path traversal, null bytes.",
        json_schema_extra=LIVE,
    )

    @field_validator("suspicious_patterns")
    @classmethod
    def _patterns(cls, text: str) -> str:
        try:
            found = json.loads(text or "{}")
        except ValueError as error:
            raise ValueError(f'use JSON such as {{"name": "regular expression"}} ({error})') from None
        if not isinstance(found, dict) or not all(isinstance(pattern, str) for pattern in found.values()):
            raise ValueError('use a JSON object such as {"name": "regular expression"}')
        for name, pattern in found.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name} is not a regular expression: {error}") from None
        return text

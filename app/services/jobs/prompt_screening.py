"""Refuse, or only log, requests whose text matches attack patterns. The text itself is never logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache

from app.config import Settings
from app.core.prompt_screening import DEFAULT_PATTERNS, Patterns, compiled, find_attack, refusal_message

log = logging.getLogger("cyberimage.security")


def screen_prompts(settings: Settings, texts: Mapping[str, str], *, client_id: str, request_id: str | None) -> None:
    """Match `texts`, by field, against the patterns. Raises SuspiciousInput if SUSPICIOUS_INPUT=refuse. The caller
    bounds their length."""
    if settings.suspicious_input == "off":
        return
    for field, text in texts.items():
        found = find_attack(text, _patterns(settings.suspicious_patterns))
        if found is None:
            continue
        log.warning(
            "Suspicious %s (%s, %s characters) from %s: %s",
            *(field, found.pattern, len(text), client_id),
            "refused" if settings.suspicious_input == "refuse" else "let through",
            extra={"request_id": request_id},
        )
        if settings.suspicious_input == "refuse":
            raise refusal_message(field, found)


@lru_cache(maxsize=4)
def _patterns(written: str) -> Patterns:
    """The compiled SUSPICIOUS_PATTERNS (validated with the settings), or the built-in ones if empty."""
    return compiled(json.loads(written) if written else DEFAULT_PATTERNS)

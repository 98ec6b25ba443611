"""Refuse, or only log, requests whose text looks like an attack. The log never holds the text itself."""

from __future__ import annotations

import json
import logging
from functools import lru_cache

from app.config import Settings
from app.core.request import GenerationInput
from app.core.suspicion import DEFAULT_PATTERNS, Patterns, compiled, refusal, suspicion

log = logging.getLogger("cyberimage.security")


def refuse_suspicious(settings: Settings, asked: GenerationInput, *, client_id: str, request_id: str | None) -> None:
    """Raises SuspiciousInput, when SUSPICIOUS_INPUT says so."""
    if settings.suspicious_input == "off":
        return
    for field, text in (("prompt", asked.prompt), ("negative_prompt", asked.negative_prompt or "")):
        # What is longer is refused anyway, and would only cost time here.
        found = suspicion(text[: settings.prompt_max_chars], _patterns(settings.suspicious_patterns))
        if found is None:
            continue
        log.warning(
            "Suspicious %s (%s, %s characters) from %s: %s",
            *(field, found, len(text), client_id),
            "refused" if settings.suspicious_input == "refuse" else "let through",
            extra={"request_id": request_id},
        )
        if settings.suspicious_input == "refuse":
            raise refusal(field, found)


@lru_cache(maxsize=4)
def _patterns(written: str) -> Patterns:
    """The patterns of SUSPICIOUS_PATTERNS, which the settings have checked; empty: the built-in ones."""
    return compiled(json.loads(written) if written else DEFAULT_PATTERNS)

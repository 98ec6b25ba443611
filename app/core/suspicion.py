"""Text that looks like an attack on some program rather than like a wish for a picture.

A tripwire, not a wall: nothing here runs, renders or opens what a prompt says, and every output is escaped. It tells
whoever runs this that somebody is probing, and keeps such text away from what else may read the database or the log.

The patterns must leave what people really write alone: `{red|blue}`, `{{masterpiece}}`, `<lora:name:1>`, "JavaScript:
the good parts", "a script font", "day.../night". So braces count only with code in them, and a single `../` is nothing.
Quantifiers are bounded, so that no text takes long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from app.errors import FieldError, SuspiciousInput

Patterns = Mapping[str, re.Pattern[str]]

_OBJECTS = "config|self|request|session|application|settings"
_CODE = rf"(?:__|\d\s{{0,5}}[*+/-]\s{{0,5}}\d|[\w\]]\(|\b(?:{_OBJECTS})\b\s{{0,5}}[.\[|])"


DEFAULT_PATTERNS: Mapping[str, str] = {
    "script_tag": r"<\s{0,5}/?\s{0,5}(?:script|iframe)\b",
    "event_handler": r"<\s{0,5}[a-z]\w{0,20}\b[^<>]{0,200}\bon[a-z]{3,20}\s{0,5}=",
    "javascript_uri": r"\b(?:java|vb)script\s{0,5}:(?:\S|\s{0,5}[\w.]{1,50}\()|\bdata:text/html",
    "template_injection": (
        rf"\{{\{{[^{{}}]{{0,200}}{_CODE}[^{{}}]{{0,200}}\}}\}}"  # {{7*7}}, {{config.items()}}
        rf"|[$#]\{{[^{{}}]{{0,200}}(?:{_CODE}|\b(?:jndi|env|sys|lower|upper)\s{{0,5}}:)"  # ${jndi:…}, #{7*7}
        r"|\{%-?\s{0,5}(?:if|for|set|import|include|extends|macro|block|raw|print|call|with)\b"
        r"|<%[=@!#-]"
    ),
    "path_traversal": (
        r"(?<![.\w])(?:\.\.[/\\]){2}"
        r"|(?<![.\w])\.\.[/\\](?:etc|proc|sys|dev|var|home|root|usr|boot|windows)\b"
        r"|(?:%2e|\.){2}(?:%2f|%5c)|(?:%2e){2}[/\\]"
        r"|/etc/(?:passwd|shadow|hosts)\b"
    ),
    "null_byte": r"\x00|(?<!\d)%00(?!\d)|(?<!\w)\\(?:x00|u0000|0(?!\d))",
}


def compiled(patterns: Mapping[str, str]) -> Patterns:
    """Raises re.error."""
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}


def suspicion(text: str, patterns: Patterns) -> str | None:
    """The name of the first of `patterns` that `text` matches, letters of other widths read as the usual ones."""
    plain = unicodedata.normalize("NFKC", text)
    return next((name for name, pattern in patterns.items() if pattern.search(plain)), None)


def refusal(field: str, pattern: str) -> SuspiciousInput:
    message = f"looks like an attack ({pattern}), not like a wish for a picture; word it differently"
    return SuspiciousInput(f"{field} {message}.", errors=[FieldError(field, message)])

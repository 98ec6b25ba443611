"""Screens prompts for text that looks like an attack on a program rather than a description of a picture.

It only detects: nothing in this application executes, renders or opens prompts, and all output is escaped. It shows
operators that attacks are tried, and protects other programs that read the database or the log.

The patterns must not match what people write: `{red|blue}`, `{{masterpiece}}`, `{{miku_(vocaloid)}}`,
`<lora:name:1>`, "JavaScript: the good parts", `cd ../../src`, "day.../night" (tests/core/honest_prompts.txt has 200
such). So braces match only with code in them, and `../` only before a system folder. Quantifiers are bounded, so that
no text takes long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import FieldError, SuspiciousInput

Patterns = Mapping[str, re.Pattern[str]]
SHOWN_CHARS = 60

_OBJECTS = "config|request|session|application|settings|cycler|joiner|lipsum|url_for|namespace"
_DUNDERS = "class|globals|init|mro|subclasses|builtins|import|bases?|dict|getattribute|proto"
_CODE = (
    rf"(?:__(?:{_DUNDERS})__|\b(?:{_OBJECTS})\s{{0,5}}(?:\.\s{{0,5}}[a-z_]|\[\s{{0,5}}['\"]|\|\s{{0,5}}attr\b)"
    r"|['\")\]\w]\.[a-z_]\w{0,40}\(\s{0,5}(?:\)|['\"]))"  # x.popen('id'), ''.join()
)
_PRODUCT = r"\s{0,5}\d{1,9}\s{0,5}\*\s{0,5}['\"]?\d{1,9}['\"]?\s{0,5}"  # template probes: 7*7, 7*'7'
_HANDLERS = (
    "error|load|unload|begin|end|click|dblclick|toggle|submit|input|change|blur|drop|scroll|wheel|copy|cut|paste|resize"
    "|select|start|finish|show|message|hashchange|focus(?:in|out)?|(?:mouse|key|drag|touch|pointer|animation|transition"
    "|page|play|can)[a-z]{0,16}"
)
_FOLDERS = "etc|proc|sys|dev|var|home|root|usr|boot|windows|winnt"


DEFAULT_PATTERNS: Mapping[str, str] = {
    "script_tag": (
        r"<\s{0,5}/\s{0,5}(?:script|iframe)\s{0,5}>|<\s{0,5}(?:script|iframe)(?:\s{0,5}/?>|[\s/][^<>]{0,200}=)"
    ),
    "event_handler": rf"<\s{{0,5}}[a-z]\w{{0,20}}\b[^<>]{{0,200}}\bon(?:{_HANDLERS})\s{{0,5}}=",
    "javascript_uri": (
        r"\b(?:java|vb)script\s{0,5}:\s{0,5}(?:[\w.$]{1,60}[(=`\[]|//|/\*|void\b|\(\s{0,5}(?:function|async|\w{0,20}\)?\s{0,5}=>))"
        r"|\bdata:text/html[,;]"
    ),
    "template_injection": (
        rf"\{{\{{(?:{_PRODUCT}|[^{{}}]{{0,200}}{_CODE}[^{{}}]{{0,200}})\}}\}}"  # {{7*7}}, {{config.items()}}
        rf"|[$#]\{{(?:{_PRODUCT}\}}|[^{{}}]{{0,200}}(?:{_CODE}|\b(?:jndi|env|sys|lower|upper)\s{{0,5}}:))"  # ${{jndi:}}
        r"|\{%-?\s{0,5}(?:if|for|set|import|include|extends|macro|block|raw|print|call|with)\b"
        r"|<%[=@!#-]?[^<>%]{1,200}%>"
    ),
    "path_traversal": (
        rf"(?<![.\w])(?:\.\.[/\\]){{1,20}}(?:{_FOLDERS})\b"
        r"|(?<![.\w])(?:\.\.[/\\]){3}"
        r"|(?:%2e|\.){2}(?:%2f|%5c)|(?:%2e){2}[/\\]"
        r"|/etc/(?:passwd|shadow)\b"
    ),
    "null_byte": r"\x00|(?<!\d)%00(?!\d)|(?<!\w)\\(?:x00|u0000|0(?![\d/]))",
}


def compiled(patterns: Mapping[str, str]) -> Patterns:
    """Compile the patterns. Raises re.error."""
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}


@dataclass(frozen=True)
class PatternMatch:
    """The name of a pattern, and the beginning of the match."""

    pattern: str
    matched: str


def find_attack(text: str, patterns: Patterns) -> PatternMatch | None:
    """The first match of `patterns` in `text` after NFKC normalisation."""
    plain = unicodedata.normalize("NFKC", text)
    for name, pattern in patterns.items():
        if found := pattern.search(plain):
            return PatternMatch(name, _shown(found[0]))
    return None


def refusal_message(field: str, found: PatternMatch) -> SuspiciousInput:
    message = f"was rejected by the input filter ({found.pattern}); remove or reword {found.matched!r}"
    return SuspiciousInput(f"{field} {message}.", errors=[FieldError(field, message)])


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"

"""Input rules for prompts: what may be in one, and how long it may be."""

from __future__ import annotations

import unicodedata

from app.errors import FieldError, InvalidRequest, PromptTooLong

_ALLOWED_CONTROL = "\t\n\r"


def check_prompt(text: str, field: str, max_chars: int, *, required: bool = True) -> str:
    """`text` without surrounding white space, or an error naming `field`.

    `max_chars` counts Unicode code points after trimming. Control characters (category Cc, and lone surrogates, which
    no file could hold) are refused rather than dropped: what is stored is what was asked.
    """
    text = text.strip()
    if not text:
        if not required:
            return ""
        raise _invalid(field, "must not be empty; say what the picture should show")
    if len(text) > max_chars:
        message = f"has {len(text)} characters; at most {max_chars} are allowed"
        raise PromptTooLong(f"{field} {message}.", errors=[FieldError(field, message)])
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in _ALLOWED_CONTROL:
            raise _invalid(field, f"holds the control character U+{ord(character):04X}; remove it")
    return text


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldError(field, message)])

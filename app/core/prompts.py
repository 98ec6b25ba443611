"""Input rules for prompts: what may be in one, and how long it may be."""

from __future__ import annotations

import re
import unicodedata

from app.errors import FieldError, InvalidRequest, PromptTooLong

_ALLOWED_CONTROL = "\t\n\r"
_SHOWN_CHARS = 40
_LORA_TAGS = ("lora", "lyco", "locon")
_TAG = re.compile(r"<\s{0,3}(lora|lyco|locon|hypernet)\s{0,3}:[^<>]{1,200}>", re.IGNORECASE)
_WEIGHT = re.compile(r"(?<!\\)\((?:[^()\\]|\\.){1,200}?:\s{0,3}[+-]?(?:\d{1,3}(?:\.\d{0,5})?|\.\d{1,5})\s{0,3}\)")
_BRACKETS = re.compile(r"(?<![\\\w])\[(?:[^\[\]\\\"{}]|\\.){1,200}\]")  # not of JSON, nor of a[0]


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


def unread_syntax(text: str, field: str) -> list[str]:
    """A warning for each kind of markup in `text` that other programs give a meaning, and that is plain words here."""
    found = []
    if tag := _TAG.search(text):
        how = "name LoRAs in settings.loras (lora_path in /v1)" if tag[1].lower() in _LORA_TAGS else "it has no effect"
        found.append(f"{field} holds the tag {_shown(tag[0])}, which is read as plain words; {how}.")
    text = _TAG.sub("", text)
    if weight := _WEIGHT.search(text) or _BRACKETS.search(text):
        found.append(f"{field} holds weights such as {_shown(weight[0])}, which are read as plain words.")
    return found


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldError(field, message)])

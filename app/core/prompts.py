"""Validation of prompts: allowed characters, length, unsupported markup."""

from __future__ import annotations

import re
import unicodedata

from app.errors import FieldError, InvalidRequest, PromptTooLong

_ALLOWED_CONTROL = "\t\n\r"
_SHOWN_CHARS = 40
_LORA_TAGS = ("lora", "lyco", "locon")
_TAG = re.compile(r"<\s{0,3}(lora|lyco|locon|hypernet)\s{0,3}:[^<>]{1,200}>", re.IGNORECASE)
_WEIGHT = re.compile(r"(?<!\\)\((?:[^()\\]|\\.){1,200}?:\s{0,3}[+-]?(?:\d{1,3}(?:\.\d{0,5})?|\.\d{1,5})\s{0,3}\)")
_BRACKETS = re.compile(r"(?<![\\\w])\[(?:[^\[\]\\\"{}]|\\.){1,200}\]")  # not JSON, nor a[0]


def check_prompt(text: str, field: str, max_chars: int, *, required: bool = True) -> str:
    """Return `text` without surrounding white space. Raises errors naming `field`.

    `max_chars` counts Unicode code points after trimming. Control characters (category Cc, and lone surrogates, which
    cannot be encoded) are refused rather than removed: what is stored is what was sent.
    """
    text = text.strip()
    if not text:
        if not required:
            return ""
        raise _invalid(field, "must not be empty; describe the picture")
    if len(text) > max_chars:
        message = f"has {len(text)} characters; at most {max_chars} are allowed"
        raise PromptTooLong(f"{field} {message}.", errors=[FieldError(field, message)])
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in _ALLOWED_CONTROL:
            raise _invalid(field, f"contains the control character U+{ord(character):04X}; remove it")
    return text


def markup_warnings(text: str, field: str) -> list[str]:
    """A warning for each kind of prompt markup of other programs in `text`, which has no effect here."""
    found = []
    if tag := _TAG.search(text):
        how = "name LoRAs in settings.loras (lora_path in /v1)" if tag[1].lower() in _LORA_TAGS else "it has no effect"
        found.append(f"{field} contains the tag {_shown(tag[0])}, which is treated as plain text; {how}.")
    text = _TAG.sub("", text)
    if weight := _WEIGHT.search(text) or _BRACKETS.search(text):
        found.append(f"{field} contains weights such as {_shown(weight[0])}, which are treated as plain text.")
    return found


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}.", errors=[FieldError(field, message)])


def folded(text: str) -> str:
    """`text` without differences of case and width, by Unicode's rules; accents are kept."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return plain.replace("i\u0307", "i")  # from the Turkish capital I with a dot


def words_of(search: str) -> list[str]:
    """The search terms, which all must occur in a text, in any order."""
    return list(dict.fromkeys(folded(search).split()))


def matches(search: str, text: str) -> bool:
    plain = folded(text)
    return all(word in plain for word in words_of(search))

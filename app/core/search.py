"""Searching in prompts: what counts as the same letters, on every database."""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """`text` with differences of case and width taken away, by Unicode's rules; accents stay."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return plain.replace("i\u0307", "i")  # what becomes of the Turkish capital I with a dot


def words_of(search: str) -> list[str]:
    """The parts that all have to be in a text, in any order."""
    return list(dict.fromkeys(folded(search).split()))


def matches(search: str, text: str) -> bool:
    plain = folded(text)
    return all(word in plain for word in words_of(search))

"""Text search in prompts, with the same normalisation on all databases."""

from __future__ import annotations

import unicodedata


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

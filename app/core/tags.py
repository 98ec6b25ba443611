"""Tags of pictures: a label as it was written, and the key that it is compared by."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.prompts import folded

LONGEST_TAG = 50  # characters
LONGEST_KEY = 200  # of the column
MOST_TAGS = 32  # of one picture


@dataclass(frozen=True)
class Tag:
    """Tags with the same `key` are the same; `label` is shown."""

    key: str
    label: str


def tag_of(text: str) -> Tag:
    """`text` as a tag, blanks trimmed and joined. Raises ValueError."""
    label = " ".join(text.split())
    if not 0 < len(label) <= LONGEST_TAG or not label.isprintable() or "," in label:
        raise ValueError(f"use 1 to {LONGEST_TAG} printable characters without a comma")
    key = folded(label)
    if len(key) > LONGEST_KEY:  # one ligature may stand for 18 letters
        raise ValueError(f"use fewer ligatures: written out it has more than {LONGEST_KEY} characters")
    return Tag(key, label)

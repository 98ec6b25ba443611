"""The built-in models' card (`demo.json`), and warnings for prompt words outside their vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PUNCTUATION = ".,;:!?\"'()[]"
_MOST_NAMED = 5


@dataclass(frozen=True)
class DemoCard:
    """`max_sequence_length` is the text length (tokens) it was trained with, `can_draw` a sentence for users."""

    max_sequence_length: int | None = None
    can_draw: str = ""


def read_demo_card(folder: Path) -> DemoCard | None:
    """The card in `folder`; None when there is none or it is invalid."""
    try:
        card = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(card, dict):
        return None
    length = card.get("max_sequence_length")
    return DemoCard(length if isinstance(length, int) and length > 0 else None, str(card.get("can_draw", "")))


def vocabulary_warnings(pipeline: Any, prompt: str, card: DemoCard | None) -> list[str]:
    """A warning that names the words unknown to a built-in model, and what it can draw."""
    # T5's, which has an unknown token: the third of SD 3, the second of FLUX.
    tokenizer = getattr(pipeline, "tokenizer_3", None) or getattr(pipeline, "tokenizer_2", None)
    if card is None or not card.can_draw or tokenizer is None:
        return []
    unknown = unknown_words(tokenizer, prompt)
    if not unknown:
        return []
    named = ", ".join(unknown[:_MOST_NAMED]) + (", …" if len(unknown) > _MOST_NAMED else "")
    return [f"The built-in model does not know: {named}. It can draw: {card.can_draw}"]


def unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    """The words of `prompt` that hold an unknown token, in order, without repeats or punctuation."""
    found: dict[str, None] = {}
    for word in prompt.split():
        if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False).input_ids:
            found.setdefault(word.strip(_PUNCTUATION) or word)
    return list(found)

"""AUTOMATIC1111's markup of LoRAs in prompts: `<lora:name:0.8>`."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from app.core.generation_settings import MOST_LORAS
from app.core.prompt_markup import LoraTag, lora_tags

_MOST_NOTES = 20


class Parsed(NamedTuple):
    """The prompt without the markup; scale by LoRA; notes on what was not used."""

    prompt: str
    loras: dict[str, float]
    notes: list[str]


def parse_loras(prompt: str, known: Collection[str]) -> Parsed:
    """`known` are the names of LoRAs here, which count in any case; a repo of the hub has a slash."""
    names = {name.casefold(): name for name in known}
    loras: dict[str, float] = {}
    notes: list[str] = []
    text, tags = lora_tags(prompt)
    for tag in tags:
        lora = names.get(tag.name.casefold(), tag.name if "/" in tag.name else None)
        if lora is None or (len(loras) == MOST_LORAS and lora not in loras):
            why = "there is no LoRA of this name here" if lora is None else f"at most {MOST_LORAS} are used"
            if len(notes) < _MOST_NOTES:
                notes.append(f"<lora:{tag.name[:60]}> was not used: {why}.")
            continue
        loras[lora] = _scale(tag, notes)
    return Parsed(text, loras, notes)


def _scale(tag: LoraTag, notes: list[str]) -> float:
    """1 if it is absent or no number; within 0 and 2."""
    scale = 1.0 if tag.scale is None else tag.scale
    if not 0 <= scale <= 2:
        notes.append(f"A LoRA's scale of {scale:g} was brought within 0 and 2.")
    return min(max(scale, 0.0), 2.0)

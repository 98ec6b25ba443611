"""AUTOMATIC1111's markup of LoRAs in prompts: `<lora:name:0.8>`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from app.core.request import MOST_LORAS

_LORA = re.compile(r"<lora:([^:<>]{1,300})(?::(-?[0-9.]{1,10}))?(?::[^<>]{0,100})?>")
_MOST_NOTES = 20
_SPACES = re.compile(r" {2,}")


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
    for found in _LORA.finditer(prompt):
        name = found[1].strip()
        lora = names.get(name.casefold(), name if "/" in name else None)
        if lora is None or (len(loras) == MOST_LORAS and lora not in loras):
            why = "there is no LoRA of this name here" if lora is None else f"at most {MOST_LORAS} are used"
            if len(notes) < _MOST_NOTES:
                notes.append(f"<lora:{name[:60]}> was not used: {why}.")
            continue
        loras[lora] = _scale(found[2], notes)
    return Parsed(_SPACES.sub(" ", _LORA.sub(" ", prompt)).strip(), loras, notes)


def _scale(text: str | None, notes: list[str]) -> float:
    """1 if it is absent or no number; within 0 and 2."""
    try:
        scale = float(text) if text else 1.0
    except ValueError:
        return 1.0
    if not 0 <= scale <= 2:
        notes.append(f"A LoRA's scale of {scale:g} was brought within 0 and 2.")
    return min(max(scale, 0.0), 2.0)

"""Prompt markup as AUTOMATIC1111 has it: weights, breaks, and LoRA tags.

(word)        1.1 times the weight        ((word))  1.1 × 1.1 times
(word:1.3)    1.3 times                   [word]    divided by 1.1
BREAK         what follows begins a new part of 75 tokens
\\( \\[        a bracket that is meant as such
<lora:name:0.8>  the LoRA `name` with the scale 0.8
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from math import ceil

UP, DOWN = 1.1, 1 / 1.1
MOST_WEIGHT = 10.0
MOST_DEPTH = 50  # of brackets in each other; further ones are text
TOKENS_OF_A_PART = 75  # what CLIP reads at once, but for the marks of beginning and end

_LORA = re.compile(
    r"<\s{0,3}(?:lora|lyco|locon)\s{0,3}:\s{0,3}([^<>:]{1,200}?)\s{0,3}(?::([^<>]{0,40}))?>", re.IGNORECASE
)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")
_ESCAPED = re.compile(r"\\[()\[\]\\]")
_PIECES = re.compile(r"\\[()\[\]\\]|[()\[\]]|\bBREAK\b|[^\\()\[\]B]+|.", re.DOTALL)
# Changes of the prompt from step to step. The bounds keep the time linear.
_SCHEDULED = re.compile(r"\[[^\[\]]{0,400}(?:\|[^\[\]]{0,400}|:\s{0,9}\d{0,9}\.?\d{1,9}\s{0,9})\]")
_MARKS = re.compile(r"[()\[\]]|\bBREAK\b")


@dataclass(frozen=True)
class Weighted:
    """A piece of a prompt and its weight; 1 is the usual one."""

    text: str
    weight: float


@dataclass(frozen=True)
class LoraTag:
    """A LoRA named in a prompt. `scale` is None if what stands there is no number."""

    name: str
    scale: float | None
    written: str


def lora_tags(prompt: str) -> tuple[str, list[LoraTag]]:
    """`prompt` without its LoRA tags, and these. Spaces take their places: what they kept apart must not become one
    word, which was not there when the prompt was screened."""
    found = []
    for tag in _LORA.finditer(prompt):
        first = (tag[2] or "1").split(":")[0]
        scale = float(first) if _NUMBER.fullmatch(first) else None
        found.append(LoraTag(tag[1].strip(), scale, tag[0]))
    return (re.sub(r"[ \t]{2,}", " ", _LORA.sub(" ", prompt)).strip(), found) if found else (prompt, [])


def has_markup(prompt: str) -> bool:
    """Whether the prompt has brackets or breaks, which `parts` reads."""
    return _MARKS.search(prompt) is not None


def may_be_long(prompt: str) -> bool:
    """Whether the prompt may have more tokens than CLIP reads at once, by an estimate without its vocabulary."""
    words = re.findall(r"\w+|[^\w\s]", prompt)
    return sum(ceil(len(word) / 4) if word.isascii() else len(word.encode()) for word in words) > TOKENS_OF_A_PART


def changes_by_step(prompt: str) -> str | None:
    """The first `[from:to:0.5]` or `[a|b]` of a prompt, which is not supported."""
    found = _SCHEDULED.search(prompt)
    return found[0] if found else None


def parts(prompt: str) -> list[list[Weighted]]:
    """The parts of `prompt` between its BREAKs, in pieces of one weight each. Brackets without their other half weigh
    to the end of the prompt, as there."""
    found: list[list[Weighted]] = [[]]
    opened: list[tuple[str, int, int]] = []  # bracket, part and piece where it begins
    for sign in _PIECES.findall(prompt):
        if sign in ("(", "[") and len(opened) < MOST_DEPTH:
            opened.append((sign, len(found) - 1, len(found[-1])))
        elif opened and (opened[-1][0], sign) in (("(", ")"), ("[", "]")):
            bracket, part, piece = opened.pop()
            stated = _stated(found, part, piece) if bracket == "(" else None
            _weigh(found, part, piece, (UP if bracket == "(" else DOWN) if stated is None else stated)
        elif sign == "BREAK":
            found.append([])
        else:
            found[-1].append(Weighted(sign[1:] if _ESCAPED.fullmatch(sign) else sign, 1.0))
    _weigh_to_the_end(found, opened)
    read = [_merged(part) for part in found]
    return [part for part in read if any(each.text.strip() for each in part)] or read[:1]


def _stated(found: list[list[Weighted]], part: int, piece: int) -> float | None:
    """The number after the last colon within a bracket, which is removed; None if there is none."""
    last = found[-1][-1] if found[-1] and (part, piece) <= (len(found) - 1, len(found[-1]) - 1) else None
    if last is None or last.weight != 1.0 or ":" not in last.text:
        return None
    text, _, number = last.text.rpartition(":")
    if not _NUMBER.fullmatch(number):
        return None
    found[-1][-1] = Weighted(text, 1.0)
    return max(-MOST_WEIGHT, min(MOST_WEIGHT, float(number)))


def _weigh(found: list[list[Weighted]], part: int, piece: int, factor: float) -> None:
    for number in range(part, len(found)):
        begin = piece if number == part else 0
        found[number][begin:] = [Weighted(each.text, each.weight * factor) for each in found[number][begin:]]


def _weigh_to_the_end(found: list[list[Weighted]], opened: list[tuple[str, int, int]]) -> None:
    """Weigh what follows each of the brackets, which are in order."""
    waiting, factor = deque(opened), 1.0
    for number, pieces in enumerate(found):
        for place, each in enumerate(pieces):
            while waiting and waiting[0][1:] <= (number, place):
                factor *= UP if waiting.popleft()[0] == "(" else DOWN
            if factor != 1.0:
                pieces[place] = Weighted(each.text, each.weight * factor)


def _merged(pieces: list[Weighted]) -> list[Weighted]:
    found: list[Weighted] = []
    for piece in pieces:
        if found and found[-1].weight == piece.weight:
            found[-1] = Weighted(found[-1].text + piece.text, piece.weight)
        elif piece.text:
            found.append(piece)
    return found

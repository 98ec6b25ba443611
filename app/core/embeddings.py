"""Textual-inversion embeddings: words of a prompt that stand for vectors of a file instead of tokens.

A file's tensors are one matrix for models with one CLIP encoder (`emb_params`, or diffusers' name of the word), or one
for each encoder of SDXL (`clip_l`, `clip_g`). A matrix has a row for each token that the word takes the place of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

MOST_VECTORS = 75  # CLIP reads as many tokens at once
OF_SDXL = ("clip_l", "clip_g")
ONLY = ""  # the key of the matrix of models with one encoder


@dataclass(frozen=True)
class EmbeddingFile:
    """An embedding on this machine. `id` is its name in prompts, `widths` the columns of its matrices by encoder."""

    id: str
    vectors: int
    widths: Mapping[str, int]
    bytes: int


def matrices_of(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The names of a file's tensors by encoder (`clip_l`, `clip_g`, or ONLY); empty if it is no embedding."""
    if set(OF_SDXL) <= shapes.keys():
        found = {encoder: encoder for encoder in OF_SDXL}
    elif "emb_params" in shapes:
        found = {ONLY: "emb_params"}
    elif len(shapes) == 1:
        found = {ONLY: next(iter(shapes))}
    else:
        return {}
    rows = {_rows(shapes[name]) for name in found.values()}
    return found if len(rows) == 1 and 0 < max(rows) <= MOST_VECTORS else {}


def _rows(shape: Sequence[int]) -> int:
    return 1 if len(shape) == 1 else shape[0] if len(shape) == 2 else 0


def width_problem(widths: Mapping[str, int], encoders: Sequence[int]) -> str | None:
    """Why matrices of these widths do not fit text encoders of those widths; None if they do."""
    given = [widths[name] for name in OF_SDXL] if OF_SDXL[0] in widths else list(widths.values())
    if given == list(encoders):
        return None
    return f"it has {_widths(given)} numbers for a token, the model takes {_widths(encoders)}"


def _widths(widths: Sequence[int]) -> str:
    return " and ".join(str(width) for width in widths)


def split(text: str, names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The pieces of `text` in order: plain ones, with None, and words that name one of `names`, with that name. A name
    counts in any case, as `<name>` or as a word of its own."""
    known = {name.casefold(): name for name in names}
    pattern = _pattern(tuple(sorted(known, key=len, reverse=True)))
    end = 0
    for found in pattern.finditer(text) if pattern is not None else ():
        if found.start() > end:
            yield text[end : found.start()], None
        yield found[0], known.get((found["tag"] or found["word"]).casefold())  # None: an i without its dot
        end = found.end()
    if end < len(text):
        yield text[end:], None


def named_in(texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of `names` that the texts use, each once."""
    names = list(names)
    return list(dict.fromkeys(name for text in texts for _, name in split(text, names) if name is not None))


@lru_cache(maxsize=8)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str] | None:
    if not names:
        return None
    either = "|".join(re.escape(name) for name in names)
    return re.compile(rf"<(?P<tag>{either})>|(?<![\w<-])(?P<word>{either})(?![\w>-])", re.IGNORECASE)

"""Parts that two models have in common are in memory once: text encoders, VAE, tokenizers whose files are equal.

Equal means by content, to the last byte, and used in the same way (precision, attention, tiles): then they are the
same functions, and each model draws what it draws alone. The denoiser is never shared. LoRAs are no danger: they are
hooks that are there only while a picture is drawn, and a worker draws one at a time. Parts that are offloaded are
moved by their own pipeline and are not given to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.digests import Digests, Stamp
from app.engines.diffusers.load.weights import fingerprint

_SHAREABLE = ("text_encoder", "tokenizer", "vae", "image_encoder", "feature_extractor")  # and text_encoder_2, …
_SAYS_NOTHING = ("transformers_version", "torch_dtype", "dtype")  # in a config: where it came from, what we ask anyway


@dataclass(frozen=True)
class PartRecord:
    """What there is to know of a part without reading its files. Parts whose `look` differs differ; for equal ones the
    files are compared."""

    look: str
    files: tuple[Stamp, ...]


class Donor(Protocol):
    """A model in memory: `cards` are those of its parts that may be given to another one."""

    @property
    def cards(self) -> Mapping[str, PartRecord]: ...

    @property
    def pipeline(self) -> Any: ...


def cards_of(checkpoint: Checkpoint, use: Callable[[str], str]) -> dict[str, PartRecord]:
    """The shareable parts of a folder by name; none of a single file. `use` says how each will be used."""
    if checkpoint.is_single_file:
        return {}
    cards = {
        name: _card(checkpoint.path / name, kind, use(name), checkpoint.files.get(name, ()))
        for name, kind in checkpoint.kinds.items()
        if name.startswith(_SHAREABLE)
    }
    return {name: card for name, card in cards.items() if card is not None}


def find_shared(cards: Mapping[str, PartRecord], donors: Iterable[Donor], digests: Digests) -> dict[str, Any]:
    """The parts of `donors` that are those of `cards`, by name. A part stays what it is in its pipeline: two places of
    one pipeline are never filled with one object."""
    shared: dict[str, Any] = {}
    for donor in donors:
        for name, card in cards.items():
            if name not in shared and name in donor.cards and _is_same(card, donor.cards[name], digests):
                shared[name] = getattr(donor.pipeline, name)
    return shared


def _card(folder: Path, kind: str, use: str, weights: Iterable[Path]) -> PartRecord | None:
    """None for a part that is not there."""
    if not folder.is_dir():
        return None
    files = sorted(weights) or sorted(file for file in folder.iterdir() if file.is_file())
    if not files:
        return None
    look = hashlib.sha256(f"{kind}\0{use}\0{_config(folder)}\0{fingerprint(folder, files)}".encode())
    return PartRecord(look.hexdigest(), tuple(Stamp.of(file) for file in files))


def _config(folder: Path) -> str:
    """The part's configuration, without what says nothing about how it works."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    kept = {name: value for name, value in config.items() if name[0] != "_" and name not in _SAYS_NOTHING}
    return json.dumps(kept, sort_keys=True)


def _is_same(one: PartRecord, other: PartRecord, digests: Digests) -> bool:
    if one.look != other.look or len(one.files) != len(other.files):
        return False
    if not all(stamp.holds() for stamp in other.files):  # changed since it was loaded: what is in memory is not known
        return False
    try:
        return all(a == b or digests.of(a) == digests.of(b) for a, b in zip(one.files, other.files, strict=True))
    except OSError:
        return False

"""Shares identical parts between models in memory: text encoders, VAE, tokenizers whose files are equal.

Equal means byte-identical files used in the same way (dtype, attention, tiling), so that each model's output is
unchanged. The denoiser is never shared. LoRAs do not interfere: their hooks exist only during a generation, and a
worker runs one at a time. Offloaded parts are moved by their own pipeline and are not shared.
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
_IGNORED_KEYS = ("transformers_version", "torch_dtype", "dtype")  # of a config: no effect on the computation


@dataclass(frozen=True)
class PartRecord:
    """Cheap identity of a part. Parts with different `digest` differ; for equal ones the files' SHA-256 are
    compared."""

    digest: str
    files: tuple[Stamp, ...]


class PartSource(Protocol):
    """A model in memory: `records` are those of its parts that may be shared."""

    @property
    def records(self) -> Mapping[str, PartRecord]: ...

    @property
    def pipeline(self) -> Any: ...


def part_records(checkpoint: Checkpoint, use: Callable[[str], str]) -> dict[str, PartRecord]:
    """Records of a folder's shareable parts by name; none for a single file. `use` returns how a part will be used."""
    if checkpoint.is_single_file:
        return {}
    records = {
        name: _record(checkpoint.folder_of(name), kind, use(name), checkpoint.files.get(name, ()))
        for name, kind in checkpoint.kinds.items()
        if name.startswith(_SHAREABLE)
    }
    return {name: record for name, record in records.items() if record is not None}


def find_shared(records: Mapping[str, PartRecord], sources: Iterable[PartSource], digests: Digests) -> dict[str, Any]:
    """The parts of `sources` identical to those in `records`, by name. Only parts of the same name are shared, so that
    no object is used twice in one pipeline."""
    shared: dict[str, Any] = {}
    for source in sources:
        for name, record in records.items():
            if name not in shared and name in source.records and _is_same(record, source.records[name], digests):
                shared[name] = getattr(source.pipeline, name)
    return shared


def _record(folder: Path, kind: str, use: str, weights: Iterable[Path]) -> PartRecord | None:
    """The record of a part; None if its folder is missing or empty."""
    if not folder.is_dir():
        return None
    files = sorted(weights) or sorted(file for file in folder.iterdir() if file.is_file())
    if not files:
        return None
    digest = hashlib.sha256(f"{kind}\0{use}\0{_config(folder)}\0{fingerprint(files[0].parent, files)}".encode())
    return PartRecord(digest.hexdigest(), tuple(Stamp.of(file) for file in files))


def _config(folder: Path) -> str:
    """The part's configuration, without keys that do not affect the computation."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    kept = {name: value for name, value in config.items() if name[0] != "_" and name not in _IGNORED_KEYS}
    return json.dumps(kept, sort_keys=True)


def _is_same(one: PartRecord, other: PartRecord, digests: Digests) -> bool:
    if one.digest != other.digest or len(one.files) != len(other.files):
        return False
    if not all(
        stamp.holds() for stamp in other.files
    ):  # changed since it was loaded: the memory differs from the files
        return False
    try:
        return all(a == b or digests.of(a) == digests.of(b) for a, b in zip(one.files, other.files, strict=True))
    except OSError:
        return False

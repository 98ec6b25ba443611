"""LRU cache of one loaded model's LoRAs, applied for a generation and removed after it.

The base weights are never written: without LoRAs the model is bit-identical again, and changing a LoRA's scale loads
nothing. The cache is limited in number and bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.faults import is_beyond_the_job
from app.core.loras import FAMILIES, LoraFile, fits
from app.engines.diffusers.load.errors import LOAD_ERRORS, log
from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.loras.hooks import (
    ActiveLoras,
    Additions,
    denoiser_additions,
    for_both_transformers,
    placed,
    with_biases,
)
from app.engines.diffusers.loras.modules import UnknownAdapter
from app.engines.diffusers.loras.targets import denoisers_of
from app.engines.diffusers.loras.tensors import Contents, read_contents
from app.engines.diffusers.loras.text_encoders import TextEncoderMismatch, text_additions
from app.errors import LoraIncompatible

Key = tuple[str, int, int]


@dataclass(frozen=True)
class LoraRequest:
    """A LoRA of a request: its file on this machine, its description, and its scale."""

    file: Path
    card: LoraFile
    scale: float

    @property
    def key(self) -> Key:
        """The cache key, which changes with the file."""
        status = self.file.stat()
        return str(self.file), status.st_size, status.st_mtime_ns


class LoraCache:
    """Caches at most `most` LoRAs of at most `most_bytes` for `pipeline`."""

    def __init__(self, pipeline: Any, model_id: str, *, most: int, most_bytes: int, quantized: bool = False) -> None:
        self._pipeline = pipeline
        self._model_id = model_id
        self._most, self._most_bytes = most, most_bytes
        self._quantized = quantized
        self._kept: dict[Key, Additions] = {}  # least recently used first
        self._ids: dict[Key, str] = {}  # those that requests named them by

    @property
    def bytes(self) -> int:
        return sum(adapter.bytes for additions in self._kept.values() for adapter in additions.values())

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def applied(self, wanted: Sequence[LoraRequest]) -> Iterator[Hashable]:
        """Apply `wanted` to the model within the block, and yield what of it changes text encoders, to be compared.
        Raises LoraIncompatible before anything is changed."""
        found = [(self._get(lora), lora.scale) for lora in wanted]
        self._make_room(keep={lora.key for lora in wanted})
        applied = ActiveLoras(
            self._pipeline, [(additions, scale) for additions, scale in found if scale]
        )  # a scale of 0 has no effect
        denoisers = denoisers_of(self._pipeline)
        try:
            yield tuple(
                (lora.key, lora.scale)
                for lora, (additions, scale) in zip(wanted, found, strict=True)
                if scale and any(part not in denoisers for part, _ in additions)
            )
        finally:
            applied.remove()

    def load(self, lora: LoraRequest) -> None:
        """Read `lora` into memory, before a request asks for it. Raises LoraIncompatible."""
        self._get(lora)
        self._make_room(keep={lora.key})

    def remove(self, lora_id: str) -> bool:
        """Free a LoRA; False if it was not in memory."""
        keys = [key for key in self._kept if self._ids[key].casefold() == lora_id.casefold()]
        for key in keys:
            del self._kept[key]
        return bool(keys)

    @property
    def ids(self) -> list[str]:
        """Of the LoRAs in memory, most recently used last. Safe in other threads."""
        return [self._ids[key] for key in list(self._kept)]

    def clear(self) -> None:
        self._kept.clear()

    def _get(self, lora: LoraRequest) -> Additions:
        key = lora.key
        additions = self._kept.pop(key) if key in self._kept else self._read(lora)
        self._ids[key] = lora.card.id
        self._kept[key] = additions  # now the most recently used
        return additions

    def _read(self, lora: LoraRequest) -> Additions:
        if self._quantized:
            raise LoraIncompatible(
                f"{self._model_id} is quantised, and quantised models take no LoRAs. Choose another model."
            )
        if not fits(lora.card.family, type(self._pipeline).__name__):
            raise self._incompatible(lora, "")
        try:
            contents = read_contents(self._pipeline, lora.file)
        except UnknownAdapter as problem:
            raise self._incompatible(lora, str(problem)) from None
        additions = self._additions(lora, contents)
        for (part, path), adapter in additions.items():
            if not adapter.finite:
                narrow = dtype_name(adapter.dtype)
                raise self._incompatible(lora, f"its numbers for {part}.{path} are too large for {narrow}")
        log.info("%s: loaded the LoRA %s, %s layers", self._model_id, lora.card.id, len(additions))
        return additions

    def _additions(self, lora: LoraRequest, contents: Contents) -> Additions:
        pipeline, metadata = self._pipeline, contents.metadata
        additions: Additions
        try:
            additions = text_additions(pipeline, contents.text, metadata)
            made = denoiser_additions(pipeline, contents.tensors, contents.alphas, metadata)
            made |= with_biases(pipeline, made, contents.biases)
            additions = {**additions, **made, **contents.adapters}
            additions = for_both_transformers(pipeline, additions, lora.file.stem)
            additions = {key: placed(pipeline, key, adapter) for key, adapter in additions.items()}
        except TextEncoderMismatch as problem:
            raise self._incompatible(lora, str(problem)) from None
        except LOAD_ERRORS as error:
            if is_beyond_the_job(error):
                raise
            raise self._incompatible(lora, (str(error).splitlines() or [type(error).__name__])[0][:200]) from error
        if not additions:
            raise self._incompatible(lora, "it holds no tensor that diffusers can place")
        return additions

    def _make_room(self, keep: set[Key]) -> None:
        """Evict the least recently used while over the limits. Those in `keep` stay, even above the limits."""
        for key in [key for key in self._kept if key not in keep]:
            if len(self._kept) <= self._most and self.bytes <= self._most_bytes:
                return
            del self._kept[key]

    def _incompatible(self, lora: LoraRequest, problem: str) -> LoraIncompatible:
        made_for = f" It was made for {FAMILIES[lora.card.family]}." if lora.card.family else ""
        detail = f": {problem}" if problem else ""
        return LoraIncompatible(f"The LoRA {lora.card.id} does not fit {self._model_id}{detail}.{made_for}")

"""The LoRAs of one loaded model: put on for a generation, taken off after it, kept near for the next one.

They are peft layers beside the base's weights, which are never written to: without them the model is itself again, to
the last bit, and changing one or its scale loads nothing. At most so many, and so many bytes, are kept; the one unused
for longest goes first. The text encoders may be shared with other models, so nothing stays switched on between jobs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from app.core.loras import FAMILIES, LoraFile, fits
from app.engines.diffusers.errors import LOAD_ERRORS, is_out_of_memory
from app.engines.diffusers.log import log
from app.engines.diffusers.lora_tensors import SAFELY, misfit, read_tensors
from app.errors import LoraIncompatible

_names = itertools.count(1)  # of adapters: unique in the process, for parts may be shared between models


@dataclass(frozen=True)
class Wanted:
    """A LoRA of a request: its file on this machine, what is in it, and how strongly it should work."""

    file: Path
    card: LoraFile
    scale: float

    @property
    def key(self) -> tuple[str, int, int]:
        """Another one when the file was changed."""
        status = self.file.stat()
        return str(self.file), status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class _Kept:
    adapter: str
    bytes: int


class LoraShelf:
    """Keeps at most `most` LoRAs and `most_bytes` with `pipeline`."""

    def __init__(self, pipeline: Any, model_id: str, *, most: int, most_bytes: int) -> None:
        self._pipeline = pipeline
        self._model_id = model_id
        self._most, self._most_bytes = most, most_bytes
        self._kept: dict[tuple[str, int, int], _Kept] = {}  # least recently used first

    @property
    def bytes(self) -> int:
        return sum(kept.bytes for kept in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def worn(self, wanted: Sequence[Wanted]) -> Iterator[None]:
        """Have the model draw with `wanted`, and be itself again afterwards. Raises LoraIncompatible before that."""
        if not wanted:
            yield
            return
        for lora in wanted:
            self._get(lora)
        active = [(self._kept[lora.key].adapter, lora.scale) for lora in wanted if lora.scale]  # 0 is none at all
        self._make_room(spared={lora.key for lora in wanted})
        try:
            if active:
                self._switch(on=True)
                self._pipeline.set_adapters([name for name, _ in active], [scale for _, scale in active])
            yield
        finally:
            self._switch(on=False)

    def clear(self) -> None:
        """Forget all of them: the model has its own layers back."""
        if self._kept:
            self._kept.clear()
            self._pipeline.unload_lora_weights()

    def _get(self, lora: Wanted) -> None:
        key = lora.key
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)  # the most recently used now
            return
        self._check_family(lora)
        tensors = read_tensors(self._pipeline, lora.file)
        if problem := misfit(self._pipeline, tensors):
            raise self._incompatible(lora, problem)
        adapter = f"lora{next(_names)}"
        try:
            self._pipeline.load_lora_weights(
                str(lora.file.parent), weight_name=lora.file.name, adapter_name=adapter, **SAFELY
            )
        except LOAD_ERRORS as error:
            self._kept.clear()
            self._pipeline.unload_lora_weights()  # what is half there must not stay; the others have their files
            if is_out_of_memory(error):
                raise
            raise self._incompatible(lora, str(error).splitlines()[0][:200]) from error
        self._switch(on=False)
        self._kept[key] = _Kept(adapter, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        log.info("%s: took up the LoRA %s, %.1f MB", self._model_id, lora.card.id, self._kept[key].bytes / 1e6)

    def _switch(self, *, on: bool) -> None:
        """Every layer that LoRAs were put beside, or only the base's own."""
        for name in self._pipeline._lora_loadable_modules:
            part = getattr(self._pipeline, name, None)
            for layer in part.modules() if isinstance(part, torch.nn.Module) else ():
                if isinstance(layer, BaseTunerLayer):
                    layer.enable_adapters(on)

    def _make_room(self, spared: set[tuple[str, int, int]]) -> None:
        """Let the oldest go while there are too many. Those that are wanted now stay, be they too many themselves."""
        for key in [key for key in self._kept if key not in spared]:
            if len(self._kept) <= self._most and self.bytes <= self._most_bytes:
                return
            self._pipeline.delete_adapters([self._kept.pop(key).adapter])

    def _check_family(self, lora: Wanted) -> None:
        if not fits(lora.card.family, type(self._pipeline).__name__):
            raise self._incompatible(lora, "")

    def _incompatible(self, lora: Wanted, problem: str) -> LoraIncompatible:
        made_for = f" It was made for {FAMILIES[lora.card.family]}." if lora.card.family else ""
        detail = f": {problem}" if problem else ""
        return LoraIncompatible(f"The LoRA {lora.card.id} does not fit {self._model_id}{detail}.{made_for}")

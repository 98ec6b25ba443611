"""Bring a model into memory: find its files, decide how it will run, make room, build it.

It decides in which order things happen; each decision is made by the module that knows about it.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import torch

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.engines.base import Control
from app.engines.diffusers.attention import apply_attention, choose_attention
from app.engines.diffusers.checkpoint import Checkpoint
from app.engines.diffusers.content import Digests
from app.engines.diffusers.loading import build_pipeline, pipeline_class_name
from app.engines.diffusers.log import log
from app.engines.diffusers.loras import LoraShelf
from app.engines.diffusers.memory import gigabytes, part_bytes
from app.engines.diffusers.precision import choose_dtype, dtype_name
from app.engines.diffusers.residency import LoadedModel, Residency
from app.engines.diffusers.sharing import PartCard, cards_of, find_shared
from app.engines.diffusers.sources import locate
from app.engines.settings import EngineSettings
from app.errors import Cancelled

_DIGESTS = ".part-digests.json"  # in MODEL_CACHE_DIR


class Loader:
    """Loads models for one device into `residency`."""

    def __init__(self, settings: EngineSettings, device: torch.device, residency: Residency) -> None:
        self._settings = settings
        self._device = device
        self._residency = residency
        self._digests = Digests(settings.model_cache_dir / _DIGESTS)

    def load(self, spec: ModelSpec, control: Control, dtype: torch.dtype | None = None) -> None:
        """Make `spec` resident, in `dtype` or what is configured. Raises what its steps raise, and Cancelled."""
        started = time.perf_counter()
        control.report(Phase.LOADING)
        checkpoint = locate(spec, self._settings, control)
        control.report(Phase.LOADING)
        _stop_if_cancelled(control)
        class_name = pipeline_class_name(spec, checkpoint)
        asked = spec.options.dtype if spec.options.dtype != "auto" else self._settings.dtype
        dtype = dtype or choose_dtype(asked, class_name, self._device)
        attention = choose_attention(spec.options.attention or self._settings.attention, class_name, self._device)
        cards = self._cards(checkpoint, dtype, attention)
        shared = find_shared(cards, self._residency.donors(), self._digests)
        self._residency.make_room(spec.id, self._needed_bytes(checkpoint, dtype, shared))
        _stop_if_cancelled(control)
        pipeline = build_pipeline(spec, checkpoint, dtype, self._device, self._settings, shared)
        attention = apply_attention(pipeline, attention)
        model = LoadedModel(
            spec=spec,
            checkpoint=checkpoint,
            pipeline=pipeline,
            device=self._device,
            dtype=dtype,
            attention=attention,
            part_bytes=part_bytes(pipeline),
            loras=LoraShelf(
                pipeline, spec.id, most=self._settings.lora_cache_max, most_bytes=self._settings.lora_cache_bytes
            ),
            cards=cards,
        )
        self._residency.add(model)
        log.info(
            "%s: loaded %s on %s in %.1f s, %s, %s, attention %s, revision %s%s",
            *(spec.id, class_name, self._device, time.perf_counter() - started),
            *(gigabytes(model.size), dtype_name(dtype), attention, checkpoint.revision),
            f", shared with others: {', '.join(shared)}" if shared else "",
        )
        _stop_if_cancelled(control)

    def _cards(self, checkpoint: Checkpoint, dtype: torch.dtype, attention: str) -> dict[str, PartCard]:
        """None when parts are offloaded: then each pipeline moves its own."""
        if self._device.type == "cuda" and self._settings.offload != "none":
            return {}
        return cards_of(checkpoint, f"{dtype} {attention} tiles {self._settings.vae_tiling}")

    def _needed_bytes(self, checkpoint: Checkpoint, dtype: torch.dtype, shared: Collection[str]) -> int:
        """What the weights take on the device beside those that are there: with offloading only the part at work."""
        if self._device.type != "cuda" or self._settings.offload == "none":
            return checkpoint.bytes_at(dtype.itemsize, without=shared)
        return checkpoint.largest_part_at(dtype.itemsize) if self._settings.offload == "model" else 0


def _stop_if_cancelled(control: Control) -> None:
    if control.cancelled():
        raise Cancelled

"""Keeps the auxiliary models of requests in memory, beside the model that draws, in the same cache.

They are measured, parked and evicted like models, and one ControlNet serves every model that it fits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

import torch

from app.core.catalog import ModelSpec
from app.core.control_inputs import detectors_of
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.auxiliaries import AuxiliaryFiles, load_auxiliary, locate_auxiliary
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import gigabytes, part_bytes
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.prompt_cache import PromptCache
from app.errors import Cancelled, InputModelUnavailable

log = logging.getLogger("cyberimage.models")
Auxiliaries = Mapping[str, LoadedModel]


class AuxiliaryLoader:
    """Loads auxiliary models for one device into `model_cache`."""

    def __init__(self, settings: EngineSettings, device: torch.device, model_cache: ModelCache) -> None:
        self._settings = settings
        self._device = device
        self._model_cache = model_cache

    def of(self, model: LoadedModel, request: GenerationRequest, control: Control) -> Auxiliaries:
        """Those that `request` uses beside `model`, by id. A detector has the name of its processor.

        Raises InputModelUnavailable, what a download does, and Cancelled; out of memory passes through.
        """
        wanted = {each.model: self._spec(each.model) for each in request.pictures if each.model is not None}
        wanted |= {name: self._detector(name) for name in detectors_of(request.pictures)}
        ids = {model.spec.id, *(spec.id for spec in wanted.values())}
        return {name: self._resident(spec, model.dtype, ids, control) for name, spec in wanted.items()}

    def _spec(self, model_id: str) -> ModelSpec:
        found = self._settings.auxiliaries.get(model_id)
        if found is None:
            raise InputModelUnavailable(f"{model_id} is no longer in the catalogue. Add its MODEL_ line.")
        return found

    def _detector(self, name: str) -> ModelSpec:
        found = (spec for spec in self._settings.auxiliaries.values() if spec.options.detects == name)
        spec = next(found, None)
        if spec is None:
            raise InputModelUnavailable(f"No model of the catalogue makes {name} pictures. Add a MODEL_ line for one.")
        return spec

    def _resident(self, spec: ModelSpec, dtype: torch.dtype, beside: Collection[str], control: Control) -> LoadedModel:
        known = self._model_cache.get(spec)
        if known is not None and known.dtype == dtype:
            return known
        del known
        parked = self._model_cache.pop_parked(spec)
        if parked is not None and parked.dtype == dtype:
            self._model_cache.make_room(spec.id, parked.size, beside=beside)
            parked.move(self._device)
            self._model_cache.add(parked)
            return parked
        del parked
        self._model_cache.remove(spec.id)
        return self._load(spec, dtype, beside, control)

    def _load(self, spec: ModelSpec, dtype: torch.dtype, beside: Collection[str], control: Control) -> LoadedModel:
        started = time.perf_counter()
        files = locate_auxiliary(spec, self._settings, control)
        control.report(Phase.LOADING)
        if control.cancelled():
            raise Cancelled
        needed = files.bytes_at(dtype.itemsize)
        self._model_cache.make_room(spec.id, needed, beside=beside)
        parts = load_auxiliary(spec, files, dtype)
        model = LoadedModel(
            spec=spec,
            checkpoint=_checkpoint(files, parts.components),
            pipeline=parts,
            load_plan=LoadPlan(device=self._device, dtype=dtype, form="", needed_bytes=needed),
            part_bytes=part_bytes(parts),
            loras=LoraCache(parts, spec.id, most=0, most_bytes=0),
            prompts=PromptCache(0),
            needed_bytes=needed,
        )
        model.move(self._device)
        self._model_cache.add(model)
        seconds, size = time.perf_counter() - started, gigabytes(model.size)
        log.info("%s: loaded the %s on %s in %.1f s, %s", spec.id, spec.options.kind, self._device, seconds, size)
        return model


def _checkpoint(files: AuxiliaryFiles, names: Collection[str]) -> Checkpoint:
    return Checkpoint(
        path=files.folder,
        config=files.folder,
        pipeline_class="",
        parts=tuple(names),
        weights={},
        revision=files.revision,
    )

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
from app.engines.diffusers.load.auxiliaries import bytes_at, load_auxiliary, locate_auxiliary, revision_of
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.beside import Beside
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import gigabytes, part_bytes
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.prompt_cache import PromptCache
from app.errors import Cancelled, InputModelUnavailable
from app.files.auxiliary_files import AuxiliaryFiles

log = logging.getLogger("cyberimage.models")
Auxiliaries = Mapping[str, LoadedModel]


class AuxiliaryLoader:
    """Loads auxiliary models for one device into `model_cache`. Their memory is planned with the model beside which
    they are used (`Beside`), so that there is room for them when they are loaded."""

    def __init__(self, settings: EngineSettings, device: torch.device, model_cache: ModelCache) -> None:
        self._settings = settings
        self._device = device
        self._model_cache = model_cache

    def of(self, model: LoadedModel, request: GenerationRequest, control: Control) -> Auxiliaries:
        """Those that `request` uses beside `model`, by id. A detector has the name of its processor.

        Raises InputModelUnavailable, what a download does, and Cancelled; out of memory passes through.
        """
        wanted = self._wanted(request)
        ids = {model.spec.id, *(spec.id for spec in wanted.values())}
        missing = self.beside(request, model.dtype, control).bytes
        if missing:  # for all of them at once, and for drawing
            needed = missing + model.load_plan.working_bytes
            self._model_cache.make_room(model.spec.id, needed, beside=ids, draws=False)
        return {name: self._resident(spec, model.dtype, ids, control) for name, spec in wanted.items()}

    def beside(self, request: GenerationRequest | None, dtype: torch.dtype, control: Control) -> Beside:
        """What the auxiliary models of `request` take beside a model of `dtype`. They are downloaded if necessary.

        Raises as `of` does.
        """
        wanted = {} if request is None or not request.pictures else self._wanted(request)
        specs = {spec.id: spec for spec in wanted.values()}
        missing = [spec for spec in specs.values() if not self._is_resident(spec, dtype)]
        needed = [bytes_at(spec, locate_auxiliary(spec, self._settings, control), dtype) for spec in missing]
        return Beside(sum(needed), frozenset(specs) - {spec.id for spec in missing})

    def _wanted(self, request: GenerationRequest) -> Mapping[str, ModelSpec]:
        """By their ids, detectors by their processors' names."""
        wanted = {each.model: self._spec(each.model) for each in request.pictures if each.model is not None}
        return wanted | {name: self._detector(name) for name in detectors_of(request.pictures)}

    def _is_resident(self, spec: ModelSpec, dtype: torch.dtype) -> bool:
        known = self._model_cache.get(spec)
        return known is not None and known.dtype == dtype

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
            self._model_cache.make_room(spec.id, parked.size, beside=beside, draws=False)
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
        needed = bytes_at(spec, files, dtype)
        self._model_cache.make_room(spec.id, needed, beside=beside, draws=False)
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
        revision=revision_of(files),
    )

"""The engine that runs diffusers pipelines: load on demand, keep warm, make room, generate, survive what goes wrong.

After running out of memory the except block is left first (its traceback keeps tensors alive), then everything of the
failed attempt is dropped; the model itself goes too, since pipelines that carried on were seen to give spoiled ones.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import diffusers
import huggingface_hub.utils
import torch
import transformers

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, Generation, Inputs, ResidentModel
from app.engines.diffusers.generate.batched import BatchControl, can_merge, generate_merged
from app.engines.diffusers.generate.generate import generate
from app.engines.diffusers.generate.overflow import (
    NotFinite,
    SilentControl,
    Widened,
    ordinary,
    ordinary_inputs,
    overflow_error,
)
from app.engines.diffusers.load.errors import MEMORY_ERRORS, is_out_of_memory
from app.engines.diffusers.load.hub_client import bound_hub_answers
from app.engines.diffusers.load.log import log
from app.engines.diffusers.load.offload import apply_memory_savings, can_tile, pixels_of, tiled
from app.engines.diffusers.load.precision import dtype_name, safer_dtype
from app.engines.diffusers.loader import Loader
from app.engines.diffusers.loras.cache import LoraRequest
from app.engines.diffusers.loras.files import describe, find_loras
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import release
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.safety.filter import Safety
from app.engines.settings import EngineSettings
from app.errors import ConfigurationError, CyberImageError, GenerationError, OutOfMemory


class DiffusersEngine:
    """Runs the sources `huggingface` and `local` on one device. Used by one thread at a time."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._device = _choose_device(settings.device)
        self._model_cache = ModelCache(self._device, most=settings.max_loaded_models, park=settings.park_models)
        self._loader = Loader(settings, self._device, self._model_cache)
        self._safety = Safety(settings)
        self._one_by_one: set[str] = set()  # models that had no memory for several pictures at once
        self._tiles_from: dict[str, int] = {}  # models that had no memory to decode so many pixels at once
        self._widened = Widened()
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several LoRAs are meant
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        huggingface_hub.utils.disable_progress_bars()
        bound_hub_answers()

    def load(self, spec: ModelSpec, control: Control) -> None:
        self._load(spec, control)

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        self._safety.prepare(spec)
        started = time.perf_counter()
        loaded = self._load(spec, control)
        loading = {Phase.LOADING.value: time.perf_counter() - started} if loaded else {}
        generation = self._generate_within_memory(spec, request, control, inputs)
        return self._safety.judge(spec, dataclasses.replace(generation, timings=loading | generation.timings))

    def merges(self, spec: ModelSpec) -> bool:
        model = self._model_cache.get(spec)
        return model is not None and spec.id not in self._one_by_one and can_merge(model)

    def generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation | CyberImageError]:
        self._safety.prepare(spec)
        self._model_cache.spare_ram()
        made: list[Generation] = []
        if not _survives(lambda: made.extend(self._generate_merged(spec, requests, controls))):
            self._one_by_one.add(spec.id)
            release()
            raise OutOfMemory(f"Memory on {self._device} ran out while {spec.id} drew for {len(requests)} jobs.")
        return [self._judged(spec, generation) for generation in made]

    def unload(self, model_id: str) -> None:
        self._model_cache.remove(model_id)

    def resident(self) -> Sequence[ResidentModel]:
        return self._model_cache.listing()

    def _load(self, spec: ModelSpec, control: Control) -> bool:
        """Make `spec` resident and say whether it had to be loaded."""
        self._model_cache.spare_ram()
        if self._model_cache.get(spec) is not None:
            return False
        woken: list[bool] = []
        if _survives(lambda: woken.append(self._loader.wake(spec, control))) and woken[0]:
            return True
        self._model_cache.remove(spec.id)  # as an older catalogue line described it
        if not _survives(lambda: self._load_cold(spec, control)):
            others = self._model_cache.remove_others(spec.id)
            release()
            if not (others and _survives(lambda: self._load_cold(spec, control))):
                release()
                raise OutOfMemory(
                    f"Memory on {self._device} ran out while {spec.id} was loaded."
                    " Choose a smaller model or a narrower dtype, or stop what else uses that memory."
                )
        return True

    def _load_cold(self, spec: ModelSpec, control: Control) -> None:
        self._loader.load(spec, control, self._widened.of(spec))

    def _generate_within_memory(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        results: list[Generation] = []
        if _survives(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
            return results[0]
        log.warning("%s: memory on %s ran out", spec.id, self._device)
        if min(self._together(spec), request.num_images) > 1:
            self._one_by_one.add(spec.id)
            release()
            if _survives(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
                return results[0]
        made_room = self._model_cache.remove_others(spec.id)
        tiles, saved = self._tile(spec, request), self._economise(spec)
        if made_room or tiles or saved:
            release()
            if _survives(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
                note = f"Memory ran short, so {spec.id} now works with less: {saved}." if saved else ""
                return dataclasses.replace(results[0], warnings=(*results[0].warnings, *filter(None, [note])))
        if tiles:
            del self._tiles_from[spec.id]  # it did not help
        self._model_cache.remove(spec.id)
        release()
        raise OutOfMemory(
            f"Memory on {self._device} ran out while {spec.id} was drawing."
            " Ask for a smaller picture, choose a smaller model, or stop what else uses that memory."
        )

    def _together(self, spec: ModelSpec) -> int:
        return 1 if spec.id in self._one_by_one else self._settings.images_per_batch

    def _tile(self, spec: ModelSpec, request: GenerationRequest) -> bool:
        """Have the VAE decode pictures as large as that of `request` in tiles from now on, and say whether that is new:
        smaller ones stay what they were, to the last bit."""
        model = self._model_cache.get(spec)
        if model is None or not can_tile(model.pipeline):
            return False
        size, before = pixels_of(model.pipeline, request), self._tiles_from.get(spec.id)
        if before is not None and before <= size:
            return False
        self._tiles_from[spec.id] = size
        return True

    def _economise(self, spec: ModelSpec) -> str:
        model = self._model_cache.get(spec)
        if model is None:
            return ""
        saved, plan = apply_memory_savings(model.pipeline, self._device, model.load_plan.plan)
        if saved:  # its parts are no longer what another model would make of the same files
            load_plan = dataclasses.replace(model.load_plan, plan=plan)
            self._model_cache.add(dataclasses.replace(model, load_plan=load_plan, cards={}))
        return saved

    def _generate_finite(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        """Generate; a model that overflows by itself is loaded in a wider precision, and stays there if that helps."""
        self._load(spec, control)
        try:
            return self._generate_warm(spec, request, control, inputs)
        except NotFinite:
            dtype = self._dtype_of(spec)
        wider = safer_dtype(dtype, self._device)
        if wider is None:
            raise overflow_error(spec, request, dtype, model_draws=False)
        if not self._overflows_by_itself(spec, request, control, inputs):
            raise overflow_error(spec, request, dtype, model_draws=True)
        log.warning("%s overflowed in %s; it is tried in %s", spec.id, dtype_name(dtype), dtype_name(wider))
        return self._generate_wider(spec, request, control, inputs, wider)

    def _overflows_by_itself(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> bool:
        """Whether the model gives no picture either when `request` has nothing of its own but words, seed and size."""
        try:
            self._generate_warm(spec, ordinary(spec, request), SilentControl(control), ordinary_inputs(inputs))
        except NotFinite:
            return True
        except GenerationError as error:
            log.info("%s: cannot tell whether it overflows by itself: %s", spec.id, error)
        return False

    def _generate_wider(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs, dtype: torch.dtype
    ) -> Generation:
        """Generate in `dtype`, which holds from now on if that gives a picture; else the model is put back."""
        self._model_cache.remove(spec.id)
        try:
            with self._widened.tried(spec, dtype):
                self._load_cold(spec, control)
                return self._generate_warm(spec, request, control, inputs)
        except NotFinite:
            raise overflow_error(spec, request, dtype, model_draws=False) from None
        finally:
            if self._widened.of(spec) is not dtype:  # it did not help: the next job loads what is configured
                self._model_cache.remove(spec.id)

    def _generate_warm(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        model = self._resident(spec)
        loras = find_loras(request, self._settings, control)
        tiles = pixels_of(model.pipeline, request) >= self._tiles_from.get(spec.id, sys.maxsize)
        with model.loras.applied(loras), tiled(model.pipeline, tiles):
            together, previews = self._together(spec), self._previews(spec)
            generation = generate(model, request, control, inputs, previews=previews, together=together)
        return _wearing(loras, _told(generation, self._changes(spec, request, tiles)))

    def _changes(self, spec: ModelSpec, request: GenerationRequest, tiles: bool = False) -> Sequence[str]:
        """What earlier jobs have changed about how `spec` draws, as far as it shows in the picture of `request`."""
        told: list[str] = []
        if (wider := self._widened.of(spec)) is not None:
            told.append(f"{spec.id} overflows in its usual precision; it was run in {dtype_name(wider)}.")
        if tiles:
            told.append(f"Memory ran short, so {spec.id} decodes pictures of this size in tiles.")
        if spec.id in self._one_by_one and min(self._settings.images_per_batch, request.num_images) > 1:
            told.append(f"Memory ran short, so {spec.id} draws one picture at a time.")
        return told

    def _generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation]:
        model = self._resident(spec)
        loras = find_loras(requests[0], self._settings, BatchControl(controls))
        try:
            with model.loras.applied(loras):
                made = generate_merged(model, requests, controls, previews=self._previews(spec))
        except NotFinite:
            raise GenerationError(f"{spec.id} gave numbers that are no picture, for one of them at least.") from None
        changes = self._changes(spec, requests[0])
        return [_wearing(loras, _told(generation, changes)) for generation in made]

    def _judged(self, spec: ModelSpec, generation: Generation) -> Generation | CyberImageError:
        try:
            return self._safety.judge(spec, generation)
        except CyberImageError as error:  # what is held back is one job's, not that of all
            return error

    def _resident(self, spec: ModelSpec) -> LoadedModel:
        model = self._model_cache.get(spec)
        if model is None:
            raise GenerationError(f"{spec.id} is not loaded.")
        return model

    def _previews(self, spec: ModelSpec) -> bool:
        return self._settings.previews and self._safety.allows_previews(spec)

    def _dtype_of(self, spec: ModelSpec) -> torch.dtype:
        model = self._model_cache.get(spec)
        return torch.float32 if model is None else model.dtype


def _wearing(loras: Sequence[LoraRequest], generation: Generation) -> Generation:
    if not loras:
        return generation
    return dataclasses.replace(generation, effective={**generation.effective, "loras": describe(loras)})


def _told(generation: Generation, changes: Sequence[str]) -> Generation:
    return dataclasses.replace(generation, warnings=(*generation.warnings, *changes)) if changes else generation


def _choose_device(wish: str) -> torch.device:
    gpus = torch.cuda.device_count()
    device = torch.device(wish if wish != "auto" else "cuda:0" if gpus else "cpu")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigurationError([f"the device {wish!r} is not there: torch sees {gpus} GPUs. Use auto or cpu."])
    return device


def _survives(work: Callable[[], None]) -> bool:
    """Do `work` and say whether memory sufficed. When it did not, the exception and its frames are gone on return."""
    try:
        work()
    except MEMORY_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        log.warning("out of memory: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        return False
    return True

"""DiffusersEngine: loads diffusers pipelines on demand, caches them, generates, recovers from out of memory.

After out of memory the except block is left first (its traceback keeps tensors alive), then everything of the failed
attempt is dropped; the model too, since pipelines that continued were seen to return corrupted images.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress

import diffusers
import huggingface_hub.utils
import torch
import transformers

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.core.trial import trial_request
from app.core.tuned_profiles import untuned
from app.engines.base import NO_INPUTS, Control, EngineSettings, Generation, Inputs, PartlyDrawn, ResidentModel
from app.engines.diffusers.auxiliary_loader import AuxiliaryLoader
from app.engines.diffusers.generate.merged import can_merge
from app.engines.diffusers.generate.overflow import (
    NotFinite,
    SilentControl,
    default_request,
    neutral_inputs,
    overflow_error,
)
from app.engines.diffusers.generate.second_pass import at_final_size
from app.engines.diffusers.load import imports
from app.engines.diffusers.load.errors import fits_in_memory, log, warn_once
from app.engines.diffusers.load.hub import bound_hub_answers
from app.engines.diffusers.load.offload import apply_memory_savings
from app.engines.diffusers.load.precision import dtype_name, safer_dtype
from app.engines.diffusers.loader import Loader
from app.engines.diffusers.loras.cache import LoraRequest
from app.engines.diffusers.loras.files import find_lora
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import device_name, is_gpu, memory_use, release
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.pipeline_runner import PipelineRunner, with_warnings
from app.engines.diffusers.safety.filter import Safety
from app.engines.diffusers.upscale.upscalers import Upscalers
from app.errors import ConfigurationError, CyberImageError, GenerationError, OutOfMemory, UnsupportedTask

_COMPILED_STEPS = 6  # of the picture that compiles: a step cache skips the first time after three


class DiffusersEngine:
    """Runs the sources `huggingface` and `local` on one device. Used by one thread at a time."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._device = _choose_device(settings.device)
        self._model_cache = ModelCache(self._device, most=settings.max_loaded_models, park=settings.park_models)
        self._auxiliaries = AuxiliaryLoader(settings, self._device, self._model_cache)
        self._loader = Loader(settings, self._device, self._model_cache, self._auxiliaries)
        self._upscalers = Upscalers(settings, self._device, self._model_cache.remove_others)
        self._safety = Safety(settings)
        self._runner = PipelineRunner(
            settings, self._auxiliaries, self._upscalers, self._safety, self._loader.planner.killed_note
        )
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several LoRAs are intended
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        huggingface_hub.utils.disable_progress_bars()
        bound_hub_answers()

    @property
    def device(self) -> torch.device:
        return self._device

    def resident_model(self, spec: ModelSpec) -> LoadedModel:
        """The loaded model of `spec`. Raises GenerationError when it is not loaded."""
        return self._resident(self._for_this_device(spec))

    def import_classes(self, spec: ModelSpec) -> None:
        imports.import_classes(spec, self._settings)

    def load(self, spec: ModelSpec, control: Control) -> None:
        spec = self._for_this_device(spec)
        if spec.is_upscaler:
            self._upscalers.load(spec, control)
        else:
            self._load(spec, control)

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        spec = self._for_this_device(spec)
        self._safety.prepare(spec)
        if spec.is_upscaler:
            return self._safety.apply(spec, self._upscalers.generate(spec, request, control, inputs))
        started = time.perf_counter()
        loaded = self._load(spec, control, request)
        loading = {Phase.LOADING.value: time.perf_counter() - started} if loaded else {}
        try:
            generation = self._generate_within_memory(spec, request, control, inputs)
        except PartlyDrawn as stopped:
            raise PartlyDrawn(self._complete(spec, stopped.generation, loading)) from None
        return self._complete(spec, generation, loading)

    def _complete(self, spec: ModelSpec, generation: Generation, loading: dict[str, float]) -> Generation:
        return self._safety.apply(spec, dataclasses.replace(generation, timings=loading | generation.timings))

    def merges(self, spec: ModelSpec) -> bool:
        model = self._model_cache.get(self._for_this_device(spec))
        return model is not None and spec.id not in self._runner.unbatched and can_merge(model)

    def generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation | CyberImageError]:
        spec = self._for_this_device(spec)
        self._safety.prepare(spec)
        self._model_cache.free_ram()
        made: list[Generation] = []
        if not fits_in_memory(
            lambda: made.extend(self._runner.generate_merged(self._resident(spec), requests, controls))
        ):
            self._runner.unbatched.add(spec.id)
            release()
            raise OutOfMemory(f"Memory on {self._device} ran out while {spec.id} ran {len(requests)} jobs in one call.")
        return [self._filtered(spec, generation) for generation in made]

    def unload(self, model_id: str) -> None:
        self._model_cache.remove(model_id)
        self._upscalers.unload(model_id)

    def resident(self) -> Sequence[ResidentModel]:
        return [*self._upscalers.resident(), *self._model_cache.resident_models()]

    def load_lora(self, spec: ModelSpec, lora_id: str, control: Control) -> bool:
        spec = self._for_this_device(spec)
        if self._model_cache.get(spec) is None:
            return False
        found: list[LoraRequest] = [find_lora(lora_id, self._settings, control)]
        if not fits_in_memory(lambda: self._resident(spec).loras.load(found[0])):
            release()
            raise OutOfMemory(f"Memory on {self._device} ran out while the LoRA {lora_id} was loaded into {spec.id}.")
        return True

    def unload_lora(self, model_id: str, lora_id: str) -> bool:
        return self._model_cache.remove_lora(model_id, lora_id)

    def vram_bytes(self) -> int | None:
        return memory_use(self._device).vram_bytes

    def _for_this_device(self, spec: ModelSpec) -> ModelSpec:
        """`spec` without the options of a profile that was measured on another device."""
        if not spec.tuned or spec.tuned_for == device_name(self._device):
            return spec
        warn_once(
            f"{spec.id} was tuned on {spec.tuned_for}: its profile is left out on {device_name(self._device)}."
            f" Run `cyberimage models tune {spec.id}` here."
        )
        return untuned(spec)

    def _load(self, spec: ModelSpec, control: Control, request: GenerationRequest | None = None) -> bool:
        """Make `spec` resident, with room for the size of `request` and for its auxiliary models; True if it had to be
        loaded."""
        self._model_cache.free_ram()
        if self._is_ready(spec, control, request):
            return False
        restored: list[bool] = []
        if fits_in_memory(lambda: restored.append(self._loader.restore(spec, control, request))) and restored[0]:
            return True
        self._model_cache.remove(spec.id)  # it may be loaded as an older catalogue line described it
        if fits_in_memory(lambda: self._load_from_disk(spec, control, request)):
            return True
        others = self._remove_others(spec)
        if others and fits_in_memory(lambda: self._load_from_disk(spec, control, request)):
            return True
        while self._loader.planner.step_down(spec):
            log.warning("%s: memory on %s ran out while loading; trying a smaller plan", spec.id, self._device)
            release()
            if fits_in_memory(lambda: self._load_from_disk(spec, control, request)):
                return True
        release()
        raise OutOfMemory(
            f"Memory on {self._device} ran out while {spec.id} was loaded."
            " Choose a smaller model or a narrower dtype, or stop other programs that use that memory."
        )

    def _is_ready(self, spec: ModelSpec, control: Control, request: GenerationRequest | None) -> bool:
        """Whether `spec` is resident under a plan that leaves room for the auxiliary models of `request`."""
        model = self._model_cache.get(spec)
        if model is None or request is None or not request.pictures:
            return model is not None
        if not self._loader.lacks_room(model, request, control):
            return True
        log.info("%s: loading it again, with room for %s", spec.id, ", ".join(request.models_used[1:]))
        del model
        self._model_cache.remove(spec.id)
        return False

    def _load_from_disk(self, spec: ModelSpec, control: Control, request: GenerationRequest | None = None) -> None:
        largest = None if request is None else at_final_size(request, spec)
        self._loader.load(spec, control, self._runner.widened.of(spec), largest)
        self._compile_ahead(spec, control)

    def _compile_ahead(self, spec: ModelSpec, control: Control) -> None:
        """Draw a picture of the usual size in a few steps, so that no job waits for the compiler. A model that cannot
        be compiled is used as it is."""
        model = self._resident(spec)
        if model.acceleration.compiled == "none":
            return
        started = time.perf_counter()
        with model.acceleration.compiling() as outcome:
            request = trial_request(spec, steps=_COMPILED_STEPS)
            with suppress(NotFinite, GenerationError, UnsupportedTask):  # a job that draws will say it
                self._runner.generate(self._resident(spec), request, SilentControl(control), NO_INPUTS)
        if outcome.problem:
            log.warning("%s: it is used without compilation: %s", spec.id, outcome.problem)
        else:
            log.info("%s: compiled in %.1f s", spec.id, time.perf_counter() - started)

    def _remove_others(self, spec: ModelSpec) -> bool:
        """Free the memory of all other models and of the upscalers; False if there were none."""
        upscalers = self._upscalers.resident()
        self._upscalers.clear()
        removed = self._model_cache.remove_others(spec.id)
        release()
        return removed or bool(upscalers)

    def _generate_within_memory(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        results: list[Generation] = []
        if fits_in_memory(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
            if self._loader.planner.has_form_for_auxiliaries(spec):  # the next job may draw without them
                note = _form_note(spec, self._resident(spec).load_plan.form, request)
                self._forget(spec)
                return with_warnings(results[0], [note])
            return results[0]
        log.warning("%s: memory on %s ran out", spec.id, self._device)
        if min(self._runner.batch_size(spec), request.num_images) > 1:
            self._runner.unbatched.add(spec.id)
            release()
            if fits_in_memory(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
                return results[0]
        made_room = self._remove_others(spec)
        saved = self._save_memory(spec)
        if made_room or saved:
            release()
            if fits_in_memory(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
                return with_warnings(results[0], [_smaller_note(spec, saved)] if saved else [])
        return self._generate_under_smaller_plans(spec, request, control, inputs)

    def _generate_under_smaller_plans(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        """On a GPU, load it again under one smaller plan after another, until it draws. Placements stay: they change
        no picture. A smaller form does, so it is taken for this request only."""
        results: list[Generation] = []
        while is_gpu(self._device) and self._loader.planner.step_down(spec, same_form_first=True):
            self._model_cache.remove(spec.id)
            release()
            if fits_in_memory(lambda: results.append(self._generate_finite(spec, request, control, inputs))):
                return with_warnings(results[0], [self._smaller_plan_note(spec)])
        self._forget(spec)
        raise OutOfMemory(
            f"Memory on {self._device} ran out while {spec.id} was drawing."
            " Request a smaller image, choose a smaller model, or stop other programs that use that memory."
        )

    def _smaller_plan_note(self, spec: ModelSpec) -> str:
        load_plan = self._resident(spec).load_plan
        how = f"{load_plan.form}, offload {load_plan.plan}"
        if self._loader.planner.form_changed(spec):
            self._forget(spec)
            return f"Memory ran short, so {spec.id} drew this with less: {how}. The picture may differ."
        return _smaller_note(spec, how)

    def _forget(self, spec: ModelSpec) -> None:
        """Remove the model, to be loaded next as if memory had not run out."""
        self._model_cache.remove(spec.id)
        self._loader.planner.forget(spec)
        release()

    def _save_memory(self, spec: ModelSpec) -> str:
        model = self._model_cache.get(spec)
        if model is None:
            return ""
        saved, plan = apply_memory_savings(model.pipeline, self._device, model.load_plan.plan)
        if saved:
            self._loader.planner.moved_to(spec, plan)
            # its offloaded parts can no longer be shared
            load_plan = dataclasses.replace(model.load_plan, plan=plan)
            self._model_cache.add(dataclasses.replace(model, load_plan=load_plan, records={}))
        return saved

    def _generate_finite(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        """Generate; a model that overflows with default settings is reloaded in a wider dtype, and kept so if that
        helps."""
        self._load(spec, control, request)
        try:
            return self._runner.generate(self._resident(spec), request, control, inputs)
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
        """Whether the model overflows also with default settings, keeping only prompt, seed and size of `request`."""
        try:
            self._runner.generate(
                self._resident(spec), default_request(spec, request), SilentControl(control), neutral_inputs(inputs)
            )
        except NotFinite:
            return True
        except GenerationError as error:
            log.info("%s: could not check whether it overflows with default settings: %s", spec.id, error)
        return False

    def _generate_wider(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs, dtype: torch.dtype
    ) -> Generation:
        """Generate in `dtype`, and keep it if that succeeds; else the next job loads the configured dtype."""
        self._model_cache.remove(spec.id)
        try:
            with self._runner.widened.trying(spec, dtype):
                self._load_from_disk(spec, control, request)
                return self._runner.generate(self._resident(spec), request, control, inputs)
        except NotFinite:
            raise overflow_error(spec, request, dtype, model_draws=False) from None
        finally:
            if self._runner.widened.of(spec) is not dtype:  # it did not help
                self._model_cache.remove(spec.id)

    def _filtered(self, spec: ModelSpec, generation: Generation) -> Generation | CyberImageError:
        try:
            return self._safety.apply(spec, generation)
        except CyberImageError as error:  # blocked content fails its own job only
            return error

    def _resident(self, spec: ModelSpec) -> LoadedModel:
        model = self._model_cache.get(spec)
        if model is None:
            raise GenerationError(f"{spec.id} is not loaded.")
        return model

    def _dtype_of(self, spec: ModelSpec) -> torch.dtype:
        model = self._model_cache.get(spec)
        return torch.float32 if model is None else model.dtype


def _form_note(spec: ModelSpec, form: str, request: GenerationRequest) -> str:
    beside = " and ".join(dict.fromkeys(request.models_used[1:]))
    return f"Memory is short for {spec.id} beside {beside}, so its weights were held as {form}. The picture may differ."


def _smaller_note(spec: ModelSpec, how: str) -> str:
    return f"Memory ran short, so {spec.id} now works with less: {how}."


def _choose_device(requested: str) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0  # NVML also counts what CUDA cannot use
    device = torch.device(requested if requested != "auto" else "cuda:0" if gpus else "cpu")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigurationError([f"the device {requested!r} does not exist: torch sees {gpus} GPUs. Use auto or cpu."])
    return device

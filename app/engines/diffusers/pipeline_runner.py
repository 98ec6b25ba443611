"""Draws with a loaded model: its LoRAs, embeddings, auxiliary models, second pass, and what is said of the result."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from app.core.catalog import ModelSpec
from app.core.latent_modes import LATENT_MODES
from app.core.request import GenerationRequest
from app.engines.base import Control, EngineSettings, Generation, Inputs, PartlyDrawn, Pixels
from app.engines.diffusers.auxiliary_loader import AuxiliaryLoader
from app.engines.diffusers.generate.control_pictures import NO_AUXILIARIES
from app.engines.diffusers.generate.embeddings import Embedding, read_embeddings
from app.engines.diffusers.generate.generate import generate
from app.engines.diffusers.generate.merged import MergedControl, generate_merged
from app.engines.diffusers.generate.overflow import NotFinite, SilentControl, WidenedDtypes
from app.engines.diffusers.generate.prompt_parts import reads_weights
from app.engines.diffusers.generate.second_pass import Draw, TwoPasses, at_final_size
from app.engines.diffusers.generate.vae_retries import VaeRetries, vae_retries
from app.engines.diffusers.load.offload import pixels_of, tiled
from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.loras.cache import LoraRequest
from app.engines.diffusers.loras.files import describe, find_loras
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.safety.filter import Safety
from app.engines.diffusers.upscale.upscalers import Enlargement, Upscalers
from app.errors import GenerationError


class PipelineRunner:
    """What ran out of memory is remembered: `unbatched` are ids of models that draw one picture at a time since then.
    `widened`: the dtypes of models that overflowed."""

    def __init__(
        self,
        settings: EngineSettings,
        auxiliaries: AuxiliaryLoader,
        upscalers: Upscalers,
        safety: Safety,
        killed_note: Callable[[ModelSpec], str],
    ) -> None:
        self._settings = settings
        self._auxiliaries = auxiliaries
        self._upscalers = upscalers
        self._safety = safety
        self._killed_note = killed_note
        self._tiles_from: dict[str, int] = {}  # models that ran out of memory decoding so many pixels
        self.unbatched: set[str] = set()
        self.widened = WidenedDtypes()

    def batch_size(self, spec: ModelSpec) -> int:
        return 1 if spec.id in self.unbatched else self._settings.images_per_batch

    def generate(self, model: LoadedModel, request: GenerationRequest, control: Control, inputs: Inputs) -> Generation:
        """Raises NotFinite, GenerationError, the errors of torch when memory runs out, and PartlyDrawn with what was
        finished."""
        spec = model.spec
        loras = find_loras(request, self._settings, control) if request.loras else ()
        named = request.embeddings if reads_weights(model.pipeline) else ()
        embeddings = read_embeddings(named, self._settings.embeddings_dir)
        auxiliaries = self._auxiliaries.of(model, request, control) if request.pictures else NO_AUXILIARIES
        with (
            _applied(model, loras),
            model.acceleration.running(changed=bool(loras or auxiliaries), with_loras=bool(loras)),
            self._vae_of(model, at_final_size(request, spec)) as vae,
        ):
            draw = partial(generate, model, auxiliaries=auxiliaries, embeddings=embeddings)
            try:
                generation = self._drawn(draw, model, request, control, inputs)
            except PartlyDrawn as stopped:
                made = _with_embeddings(embeddings, stopped.generation)
                raise PartlyDrawn(self._described(model, request, made, loras, vae)) from None
        generation = dataclasses.replace(generation, encodings=model.prompts.take_counts())
        return self._described(model, request, _with_embeddings(embeddings, generation), loras, vae)

    def _drawn(
        self, draw: Draw, model: LoadedModel, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> Generation:
        spec, second = model.spec, request.upscale
        batch_size, previews = self.batch_size(spec), self._previews(spec)
        if second is None:
            return draw(request, control, inputs, previews=previews, batch_size=batch_size)
        if second.model in LATENT_MODES:
            passes = TwoPasses(partial(draw, previews=previews), model.pipeline, spec, second, _no_pixels)
            return passes.generate(request, control, inputs)
        upscaler, upscalers = self._settings.upscaler_of(second.model), self._upscalers

        def enlarge(pixels: Pixels, size: tuple[int, int]) -> Pixels:
            return upscalers.enlarge(upscaler, pixels, size, Enlargement(SilentControl(control), 1))

        with upscalers.beside(spec):
            upscalers.load(upscaler, control)  # before anything is drawn: it may have to be downloaded, or be missing
            passes = TwoPasses(partial(draw, previews=previews), model.pipeline, spec, second, enlarge)
            made = passes.generate(request, control, inputs)
            return upscalers.with_versions(made, upscaler)

    def _described(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        made: Generation,
        loras: Sequence[LoraRequest],
        vae: VaeRetries,
    ) -> Generation:
        return _with_loras(loras, with_warnings(made, self._change_warnings(model, request, vae)))

    @contextmanager
    def _vae_of(self, model: LoadedModel, request: GenerationRequest) -> Iterator[VaeRetries]:
        """Have the VAE decode pictures of a size that it once ran out of memory at in tiles, and smaller ones as ever:
        they stay bit-identical."""
        pipeline, model_id = model.pipeline, model.spec.id
        size, most = pixels_of(pipeline, request), self._tiles_from.get(model_id, sys.maxsize)
        with tiled(pipeline, size >= most), vae_retries(pipeline, widens=model.load_plan.whole_parts) as retries:
            yield retries
        if retries.tiled:
            self._tiles_from[model_id] = min(size, most)
        retries.tiled |= size >= most

    def _change_warnings(self, model: LoadedModel, request: GenerationRequest, vae: VaeRetries) -> Sequence[str]:
        """Warnings for changes to `spec` made by earlier jobs' failures that affect the image of `request`."""
        warnings: list[str] = []
        spec = model.spec
        if (wider := self.widened.of(spec)) is not None:
            warnings.append(f"{spec.id} overflows in its configured precision; it was run in {dtype_name(wider)}.")
        if note := self._killed_note(spec):
            warnings.append(note)
        if vae.widened:
            warnings.append(f"The VAE of {spec.id} overflows in {dtype_name(model.dtype)}; it used float32.")
        if vae.tiled:
            warnings.append(f"Memory ran short, so {spec.id} decodes pictures of this size in tiles.")
        if spec.id in self.unbatched and min(self._settings.images_per_batch, request.num_images) > 1:
            warnings.append(f"Memory ran short, so {spec.id} draws one picture at a time.")
        return warnings

    def generate_merged(
        self, model: LoadedModel, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation]:
        """Requests with equal settings in one call."""
        spec = model.spec
        loras = find_loras(requests[0], self._settings, MergedControl(controls)) if requests[0].loras else ()
        try:
            with (
                _applied(model, loras),
                model.acceleration.running(changed=bool(loras), with_loras=bool(loras)),
                self._vae_of(model, requests[0]) as vae,
            ):
                made = generate_merged(model, requests, controls, previews=self._previews(spec))
        except NotFinite:
            raise GenerationError(f"{spec.id} returned NaN or infinity for at least one of the merged jobs.") from None
        changes = self._change_warnings(model, requests[0], vae)
        return [_with_loras(loras, with_warnings(generation, changes)) for generation in made]

    def _previews(self, spec: ModelSpec) -> bool:
        return self._settings.previews and self._safety.allows_previews(spec)


@contextmanager
def _applied(model: LoadedModel, loras: Sequence[LoraRequest]) -> Iterator[None]:
    if not loras:
        yield
        return
    with model.loras.applied(loras) as of_text_encoders:
        model.prompts.variant = of_text_encoders
        try:
            yield
        finally:
            model.prompts.variant = ()


def _with_loras(loras: Sequence[LoraRequest], generation: Generation) -> Generation:
    if not loras:
        return generation
    return dataclasses.replace(generation, effective={**generation.effective, "loras": describe(loras)})


def _with_embeddings(embeddings: Sequence[Embedding], generation: Generation) -> Generation:
    if not embeddings:
        return generation
    used = [{"id": each.name, "revision": each.revision} for each in embeddings]
    return dataclasses.replace(generation, effective={**generation.effective, "embeddings": used})


def with_warnings(generation: Generation, changes: Sequence[str]) -> Generation:
    return dataclasses.replace(generation, warnings=(*generation.warnings, *changes)) if changes else generation


def _no_pixels(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    raise GenerationError("Latents are enlarged, not pixels.")

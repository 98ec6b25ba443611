"""The second pass of a generation: each picture is drawn, enlarged, and drawn over at the larger size (img2img)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.core.catalog import ModelSpec
from app.core.generation_settings import SEED_MAX
from app.core.job import Phase
from app.core.latent_modes import LATENT_MODES, LatentMode
from app.core.request import GenerationRequest
from app.core.upscaling import Upscale, enlarged
from app.engines.base import Control, Generation, Inputs, PartlyDrawn, Pixels
from app.engines.diffusers.generate.control_pictures import NO_AUXILIARIES
from app.engines.diffusers.generate.latent_upscale import Seen, decoded_latents, encoding_as, enlarged_latents
from app.engines.diffusers.generate.tiled_pass import drawn_in_tiles
from app.errors import Cancelled

Enlarge = Callable[[Pixels, tuple[int, int]], Pixels]
Draw = Callable[..., Generation]  # generate() with its model, and what of the request applies to both passes


def at_final_size(request: GenerationRequest, spec: ModelSpec) -> GenerationRequest:
    """`request` with the largest size that it draws, for what depends on memory."""
    if request.upscale is None or request.width is None or request.height is None:
        return request
    width, height = enlarged((request.width, request.height), request.upscale.factor, spec.limits.multiple_of)
    if (tile := request.upscale.tile) is not None:
        width, height = max(request.width, min(tile, width)), max(request.height, min(tile, height))
    return request.model_copy(update={"width": width, "height": height})


@dataclass(frozen=True)
class TwoPasses:
    """`draw` is `generate` with the model, whose loaded `pipeline` has the VAE of all tasks; `enlarge` makes pixels of
    a size. Control pictures and references lead the first pass; embeddings and LoRAs are in both."""

    draw: Draw
    pipeline: Any
    spec: ModelSpec
    second: Upscale
    enlarge: Enlarge

    def generate(self, request: GenerationRequest, control: Control, inputs: Inputs) -> Generation:
        """All pictures of `request`, one after another. Raises what `draw` does."""
        made: list[Generation] = []
        for index in range(request.num_images):
            try:
                made.append(self._one(request, control, inputs, index))
            except Cancelled:
                if not made:
                    raise
                raise PartlyDrawn(_together(request, made)) from None
        return _together(request, made)

    def _one(self, request: GenerationRequest, control: Control, inputs: Inputs, index: int) -> Generation:
        alone = request.model_copy(update={"seed": request.seed + index, "num_images": 1, "upscale": None})
        before, total = index * request.steps_run, request.num_images * request.steps_run
        mode = LATENT_MODES.get(self.second.model)
        with decoded_latents(self.pipeline) if mode is not None else nullcontext(Seen()) as seen:
            first = self.draw(alone, PassControl(control, before, total), inputs)
        pixels = first.images[0].pixels
        size = enlarged((pixels.shape[1], pixels.shape[0]), self.second.factor, self.spec.limits.multiple_of)
        over = alone.model_copy(
            update={
                "task": "img2img",
                "pictures": (),
                "width": size[0],
                "height": size[1],
                "strength": self.second.strength,
                "num_inference_steps": self.second.steps,
            }
        )
        before += alone.steps_run
        if mode is not None:
            drawn = self._over_latents(over, PassControl(control, before, total), pixels, seen, mode)
        elif self.second.tile is not None:
            drawn = self._in_tiles(over, control, (before, total), self.enlarge(pixels, size), self.second.tile)
        else:
            larger = {"image": self.enlarge(pixels, size)}
            drawn = self.draw(over, PassControl(control, before, total), larger, auxiliaries=NO_AUXILIARIES)
        return _as_one(first, drawn, size)

    def _over_latents(
        self, over: GenerationRequest, control: Control, pixels: Pixels, seen: Seen, mode: LatentMode
    ) -> Generation:
        """The second pass over the first one's latents. Its picture is not read: it only has the right size."""
        (height, width), (latents,) = pixels.shape[:2], seen.latents
        size = (over.width or width, over.height or height)
        grid = (latents.shape[-1] * size[0] // width, latents.shape[-2] * size[1] // height)
        blank = np.zeros((size[1], size[0], 3), np.uint8)
        with encoding_as(self.pipeline, enlarged_latents(latents, grid, mode)):
            return self.draw(over, control, {"image": blank}, auxiliaries=NO_AUXILIARIES)

    def _in_tiles(
        self, over: GenerationRequest, control: Control, steps: tuple[int, int], pixels: Pixels, tile: int
    ) -> Generation:
        """The second pass in tiles, each with a seed of its own: with the same noise in all a pattern would show."""
        (before, total), made = steps, list[Generation]()

        def draw(number: int, part: Pixels) -> Pixels:
            changes = {"width": part.shape[1], "height": part.shape[0], "seed": (over.seed + number) % (SEED_MAX + 1)}
            passed = PassControl(control, before + number * over.steps_run, total)
            one = over.model_copy(update=changes)
            made.append(self.draw(one, passed, {"image": part}, previews=False, auxiliaries=NO_AUXILIARIES))
            return made[-1].images[0].pixels

        whole = drawn_in_tiles(pixels, tile, draw)
        together = _together(over, made)
        effective = {**together.effective, "tiles": len(made), "steps_run": len(made) * over.steps_run}
        return replace(together, images=[replace(made[0].images[0], pixels=whole)], effective=effective)


def _as_one(first: Generation, drawn: Generation, size: tuple[int, int]) -> Generation:
    """The second pass' generation, described with the first one."""
    height, width, _ = first.images[0].pixels.shape
    return replace(
        drawn,
        effective={**first.effective, "width": size[0], "height": size[1], "first_width": width, "first_height": height}
        | {"steps_run": first.effective["steps_run"] + drawn.effective["steps_run"]}
        | {name: drawn.effective[name] for name in ("tiles",) if name in drawn.effective},
        versions={**drawn.versions, **first.versions, "second_pipeline": drawn.versions["pipeline"]},
        timings=_added(first.timings, drawn.timings),
        warnings=tuple(dict.fromkeys((*first.warnings, *drawn.warnings))),
        vram_peak_bytes=max(first.vram_peak_bytes or 0, drawn.vram_peak_bytes or 0) or None,
    )


def _together(request: GenerationRequest, made: list[Generation]) -> Generation:
    timings: dict[str, float] = {}
    for each in made:
        timings = _added(timings, each.timings)
    return replace(
        made[0],
        images=[image for each in made for image in each.images],
        effective={**made[0].effective, "seed": request.seed, "num_images": request.num_images},
        timings=timings,
        warnings=tuple(dict.fromkeys(warning for each in made for warning in each.warnings)),
        vram_peak_bytes=max(each.vram_peak_bytes or 0 for each in made) or None,
    )


def _added(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {phase: one.get(phase, 0.0) + other.get(phase, 0.0) for phase in {**one, **other}}


class PassControl:
    """The `Control` of one pass: its steps come after `before` others, of `total` in the job."""

    def __init__(self, control: Control, before: int, total: int) -> None:
        self._control = control
        self._before, self._total = before, total

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        self._control.report(phase, min(self._before + step, self._total), self._total)

    def downloaded(self, done: int, total: int) -> None:
        self._control.downloaded(done, total)

    def preview(self, pixels: Pixels, step: int) -> None:
        self._control.preview(pixels, min(self._before + step, self._total))

    def cancelled(self) -> bool:
        return self._control.cancelled()

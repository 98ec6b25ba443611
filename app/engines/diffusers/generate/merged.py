"""Runs several jobs in one pipeline call: each has its own prompt, seed, progress and previews; the rest is shared.

Only for families whose pipelines pad every prompt to one length, independent of the others (`merges` in their records):
their images equal those of separate calls, but for rounding (tests/engines/diffusers/generate/test_merged.py compares
each).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from app.core.families.lookup import family_of
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, GeneratedImage, Generation, Pixels
from app.engines.diffusers.generate.arguments import PipelineArguments, pipeline_arguments
from app.engines.diffusers.generate.generate import build_generation, cached_parts, draw, sequence_length, to_pixels
from app.engines.diffusers.generate.preview import Previewer
from app.engines.diffusers.generate.progress import ProgressHook
from app.engines.diffusers.generate.prompt_parts import too_long_for_one_call
from app.engines.diffusers.generate.schedulers import scheduler_of
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import GenerationError


class MergedControl:
    """One `Control` for several jobs: reports go to all, and it is cancelled when all are."""

    def __init__(self, controls: Sequence[Control]) -> None:
        self._controls = controls

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        for control in self._controls:
            control.report(phase, step, total_steps)

    def downloaded(self, done: int, total: int) -> None:
        for control in self._controls:
            control.downloaded(done, total)

    def preview(self, pixels: Pixels, step: int) -> None:
        for control in self._controls:
            control.preview(pixels, step)

    def cancelled(self) -> bool:
        ended = [control.cancelled() for control in self._controls]  # call each: a cancelled job ends in this call
        return all(ended)


def can_merge(model: LoadedModel) -> bool:
    """False for pipelines with a step cache, which makes one decision for all images of a call."""
    name = type(model.pipeline).__name__
    family = family_of(name)
    cached = model.acceleration.steps.config is not None or cached_parts(model.pipeline)
    return family is not None and name in family.merges and not cached


def generate_merged(
    model: LoadedModel, requests: Sequence[GenerationRequest], controls: Sequence[Control], *, previews: bool
) -> Sequence[Generation]:
    """One image for each of `requests`. Raises what `generate` does; Cancelled when all jobs are cancelled."""
    pipeline, first, count = model.pipeline, requests[0], len(requests)
    calls = [pipeline_arguments(pipeline, request, NO_INPUTS, sequence_length(model)) for request in requests]
    for request, call in zip(requests, calls, strict=True):
        if too_long_for_one_call(pipeline, call.arguments, request):
            raise GenerationError("A prompt is longer than others of its call may be; each runs alone.")
    previewer = Previewer(pipeline, first.width, first.height, count, model.preview_vae) if previews else None
    progress = ProgressHook(controls, first.steps_run, 1, previewer)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    made = []
    with scheduler_of(pipeline, first):
        progress.begin(0)
        drawn = draw(pipeline, _as_one(calls), [request.seed for request in requests], progress)
        progress.enter(Phase.DONE)
        for request, call, picture in zip(requests, calls, drawn.pictures, strict=True):
            image = GeneratedImage(to_pixels(picture), request.seed)
            generation = build_generation(model, pipeline, request, call, [image], progress, count)
            made.append(dataclasses.replace(generation, merged=count))
    return made


def _as_one(calls: Sequence[PipelineArguments]) -> Mapping[str, Any]:
    """The shared arguments, with the prompts of all calls as lists."""
    shared = calls[0].arguments
    own = {name: [call.arguments[name] for call in calls] for name in ("prompt", "negative_prompt") if name in shared}
    return {**shared, **own}

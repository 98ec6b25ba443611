"""Previews: small images decoded from the latents of a step, cheap enough to make during generation.

Intermediate latents are mostly noise. With a flow-matching scheduler two consecutive ones give the velocity v = dx/dσ,
and x − σ·v estimates the result (the x₀ estimate of Lipman et al., 2023, "Flow Matching for Generative Modeling"), so
that the preview sharpens step by step. With other schedulers the latents are shown as they are.

Decodes with the model's own VAE, on latents pooled to a few hundred values, so that no table per family is needed, or
with a small decoder that the model's line names, which makes larger previews at less cost. For a video, the first frame
is shown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from app.core.faults import is_beyond_the_job
from app.engines.base import Pixels
from app.engines.diffusers.generate.latents import (
    decode,
    decode_small,
    decoder,
    encoded_grid,
    latent_grid,
    suits,
)
from app.engines.diffusers.generate.schedulers import is_flow
from app.engines.diffusers.load.errors import log
from app.engines.diffusers.load.model_offload import staying_beside

MOST_LATENTS = {"cpu": 24, "cuda": 32}  # longest side that is decoded
SMALL_MOST_LATENTS = {"cpu": 48, "cuda": 64}  # by a small decoder
FIRST_AFTER_SECONDS = 0.4
SHOWN_AT_LEAST_SECONDS = 0.4  # a preview that the result replaces sooner is not worth its cost
PAUSE_COSTS = 40.0  # wait this many times what a preview cost: at most 2.5 % of the time goes into previews
PAUSE_SECONDS = 0.25
_FAULTS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError)  # of latents with an unknown layout


class Previewer:
    """Decodes previews of the first `pictures` images of a call, of `width` × `height` (None: the pipeline's
    default). `small`: an AutoencoderTiny for the latents of the pipeline."""

    def __init__(
        self, pipeline: Any, width: int | None, height: int | None, pictures: int = 1, small: Any = None
    ) -> None:
        self._pipeline = pipeline
        self._small = small
        self._pictures = pictures
        self._size = (width, height)
        self._last: torch.Tensor | None = None
        self._failed = False
        self._stepped_at = time.perf_counter()
        self._next_at = self._stepped_at + FIRST_AFTER_SECONDS

    def after_step(self, step: int, latents: torch.Tensor) -> Sequence[Pixels]:
        """Previews (uint8 RGB, height × width × 3) after 0-based `step`; empty until the next one is due."""
        started = time.perf_counter()
        pace, self._stepped_at = started - self._stepped_at, started
        if step == 0:
            self._last = None  # of another image
        previews: Sequence[Pixels] = ()
        if started >= self._next_at and self._seconds_left(step, pace) >= SHOWN_AT_LEAST_SECONDS:
            previews = self._try(step, latents)
            cost = time.perf_counter() - started
            self._next_at = time.perf_counter() + max(PAUSE_SECONDS, PAUSE_COSTS * cost)
        self._last = latents
        return previews

    def _try(self, step: int, latents: torch.Tensor) -> Sequence[Pixels]:
        """Previews; disabled after the first error, since an unknown family's latents must not fail the job."""
        if self._failed:
            return ()
        try:
            return self._draw(self._heading(step, latents))
        except _FAULTS as error:
            if is_beyond_the_job(error):
                raise
            if self._small is not None:
                self._small = None
                log.warning("%s: its small decoder failed: %s", type(self._pipeline).__name__, error)
                return self._try(step, latents)
            self._failed = True
            log.warning("%s: no previews, drawing one failed: %s", type(self._pipeline).__name__, error)
            return ()

    def _seconds_left(self, step: int, pace: float) -> float:
        """Estimated seconds until the last step; SHOWN_AT_LEAST_SECONDS when the scheduler has no step count."""
        steps = len(getattr(self._pipeline.scheduler, "timesteps", ()))
        if not steps:
            return SHOWN_AT_LEAST_SECONDS
        return (steps - step - 1) * pace

    def _heading(self, step: int, latents: torch.Tensor) -> torch.Tensor:
        """The x₀ estimate of the latents; the latents themselves when there is none."""
        sigmas = getattr(self._pipeline.scheduler, "sigmas", None)
        step += (
            getattr(self._pipeline.scheduler, "begin_index", None) or 0
        )  # with an input image the first steps are skipped
        if not is_flow(self._pipeline.scheduler) or sigmas is None or self._last is None or step + 1 >= len(sigmas):
            return latents
        before, after = float(sigmas[step]), float(sigmas[step + 1])
        if before == after:
            return latents
        return latents - after * (latents - self._last) / (after - before)

    def _draw(self, latents: torch.Tensor) -> Sequence[Pixels]:
        pictures = self._decoded(latents[: self._pictures])
        if pictures is None or pictures.ndim != 4 or pictures.shape[1] < 3 or not torch.isfinite(pictures).all():
            return ()
        pixels = ((pictures[:, :3].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return [np.ascontiguousarray(each) for each in pixels.permute(0, 2, 3, 1).cpu().numpy()]

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor | None:
        """The pictures of the latents: (pictures, channels, height, width), -1 to 1; None for an unknown layout."""
        small, pipeline = self._small, self._pipeline
        grid = latent_grid(pipeline, latents, self._size) if small is not None else None
        if grid is not None and suits(small, pipeline, grid):
            with torch.inference_mode():
                return decode_small(small, _pooled(grid, SMALL_MOST_LATENTS)).float()
        grid = encoded_grid(pipeline, latents, self._size)
        if grid is None:
            return None
        with torch.inference_mode(), staying_beside(decoder(pipeline)):
            return decode(pipeline, _pooled(grid, MOST_LATENTS)).float()


def _pooled(grid: torch.Tensor, most: Mapping[str, int]) -> torch.Tensor:
    """`grid` with sides of at most `most` of its device."""
    shrink = min(1.0, most.get(grid.device.type, most["cpu"]) / max(grid.shape[-2:]))
    if shrink == 1.0:
        return grid
    height, width = (max(1, round(side * shrink)) for side in grid.shape[-2:])
    return torch.nn.functional.interpolate(grid.float(), (height, width), mode="area")

"""Pipeline callbacks: report phases and steps to `Control`, interrupt on cancellation, measure seconds by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from app.core.job import Phase
from app.engines.base import Control
from app.engines.diffusers.generate.preview import Previewer
from app.errors import Cancelled


class ProgressHook:
    """Tracks `images` runs of `steps` denoising steps each; the steps are reported as one count over all images.

    Several `controls` are those of merged jobs; the call continues until all are cancelled. `at_once`: a cancel raises
    instead of waiting for the pipeline to decode; the caller must free the pipeline's hooks.
    """

    def __init__(
        self,
        controls: Sequence[Control],
        steps: int,
        images: int,
        previewer: Previewer | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        self._controls = controls
        self._at_once = at_once
        self._previewer = previewer
        self._steps, self._images = steps, images
        self._image, self._batch_size = 0, 1
        self._phase, self._since = Phase.STARTING, time.perf_counter()
        self._last_event: Any = None
        self.seconds: dict[str, float] = {}
        self.finite = True
        self.cancelled = False

    def enter(self, phase: Phase) -> None:
        """Report `phase` and add the elapsed seconds to the previous one."""
        now = time.perf_counter()
        if self._phase is not Phase.STARTING:
            self.seconds[self._phase.value] = self.seconds.get(self._phase.value, 0.0) + now - self._since
        self._phase, self._since = phase, now
        if phase is not Phase.DONE:
            self._report(phase, self._image * self._steps)

    def begin(self, index: int, batch_size: int = 1) -> None:
        """Start the call for image `index` and the following, `batch_size` in all. Raises Cancelled."""
        if self._all_cancelled():
            raise Cancelled
        self._image, self._batch_size = index, batch_size
        self.enter(Phase.ENCODING)

    def before_denoiser(self, *_: Any) -> None:
        """Forward pre-hook of the denoiser: its first call marks the end of prompt encoding."""
        if self._phase is Phase.ENCODING:
            self.enter(Phase.GENERATING)

    def on_step_end(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """diffusers' callback_on_step_end. Cancels through `_interrupt`, which every pipeline call resets."""
        self.before_denoiser()
        self._steps = getattr(pipeline, "num_timesteps", None) or self._steps  # some schedulers take more
        latents = tensors.get("latents")
        if isinstance(latents, torch.Tensor):
            self._synchronize(latents.device)
        done = self._image * self._steps + (step + 1) * self._batch_size
        self._report(Phase.GENERATING, done)
        self._send_preview(step, done, latents)
        if self._all_cancelled():
            self._stop(pipeline)
        elif step + 1 == self._steps:
            if isinstance(latents, torch.Tensor):
                self.finite = bool(torch.isfinite(latents).all())
            self._image += self._batch_size
            self.enter(Phase.DECODING)
        return {}

    def _report(self, phase: Phase, step: int) -> None:
        for control in self._controls:
            control.report(phase, step, self._total)

    def _all_cancelled(self) -> bool:
        asked = [control.cancelled() for control in self._controls]  # call each: a cancelled job ends in this call
        return all(asked)

    def _send_preview(self, step: int, done: int, latents: Any) -> None:
        if self._previewer is None or not isinstance(latents, torch.Tensor) or step + 1 == self._steps:
            return
        previews = self._previewer.after_step(step, latents)
        for control, preview in zip(self._controls, previews, strict=False):  # empty when none is due
            control.preview(preview, done)

    @property
    def steps(self) -> int:
        """Denoising steps of one image, as counted by the pipeline once it runs."""
        return self._steps

    @property
    def _total(self) -> int:
        return self._steps * self._images

    def _stop(self, pipeline: Any) -> None:
        self.cancelled = True
        if self._at_once or not hasattr(type(pipeline), "interrupt"):
            raise Cancelled
        pipeline._interrupt = True

    def _synchronize(self, device: torch.device) -> None:
        """Let Python run at most one step ahead of the GPU, so that steps are reported when they happen."""
        if device.type != "cuda":
            return
        if self._last_event is not None:
            self._last_event.synchronize()
        self._last_event = torch.cuda.Event()
        self._last_event.record(torch.cuda.current_stream(device))


@contextmanager
def scheduler_steps(pipeline: Any, progress: ProgressHook) -> Iterator[None]:
    """Call `progress.on_step_end` after each step of the scheduler, for pipelines without a callback of their own. A
    cancel raises within the step."""
    scheduler: Any = getattr(pipeline, "scheduler", None)
    if not hasattr(scheduler, "step"):
        yield
        return
    original, done = scheduler.step, 0

    def step(*arguments: Any, **options: Any) -> Any:
        nonlocal done
        output = original(*arguments, **options)
        latents = output[0] if isinstance(output, tuple) else getattr(output, "prev_sample", None)
        progress.on_step_end(None, min(done, progress.steps - 1), None, {"latents": latents})
        done += 1
        return output

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step

"""Numeric overflow (NaN, infinity): finds out whether the model's dtype or the job's settings cause it.

A dtype too narrow for a model overflows with default settings too. So the job is repeated with only its prompt, seed
and size: if that overflows, the dtype is the cause, otherwise the job's settings are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from app.core.catalog import ModelSpec
from app.core.inputs import role_of
from app.core.job import Phase
from app.core.repaint import FIELDS as REPAINT_FIELDS
from app.core.request import GenerationRequest
from app.core.schedulers.choice import FIELDS as SCHEDULER_FIELDS
from app.core.tasks import DEFAULT_STRENGTH
from app.engines.base import Control, Inputs, Pixels
from app.engines.diffusers.load.precision import dtype_name
from app.errors import GenerationError

_GRAY, _WHITE = 128, 255


class NotFinite(Exception):
    """The pipeline's output has NaN or infinity."""


class WidenedDtypes:
    """The wider dtypes of models that overflow in the configured one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModelSpec, torch.dtype]] = {}

    def of(self, spec: ModelSpec) -> torch.dtype | None:
        """The wider dtype of `spec`; None if the configured one works, or the spec has changed since."""
        known, dtype = self._known.get(spec.id, (None, None))
        return dtype if known == spec else None

    @contextmanager
    def trying(self, spec: ModelSpec, dtype: torch.dtype) -> Iterator[None]:
        """Set the dtype of `spec`; an exception in the block restores the previous one."""
        before, helped = self._known.get(spec.id), False
        self._known[spec.id] = spec, dtype
        try:
            yield
            helped = True
        finally:
            if not helped:
                self._known.pop(spec.id)
                if before is not None:
                    self._known[spec.id] = before


class SilentControl:
    """A `Control` for internal runs: forwards cancellation, drops reports and previews."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None: ...

    def downloaded(self, done: int, total: int) -> None: ...

    def preview(self, pixels: Pixels, step: int) -> None: ...

    def cancelled(self) -> bool:
        return self._control.cancelled()


def default_request(spec: ModelSpec, request: GenerationRequest) -> GenerationRequest:
    """`request` for one image without LoRAs, with the model's default guidance, scheduler, steps, strength."""
    usual = {
        "loras": (),
        "guidance_scale": spec.defaults.guidance_scale,
        "num_inference_steps": spec.steps.fixed or spec.steps.default,
        "strength": None if request.strength is None else DEFAULT_STRENGTH.get(request.task, 1.0),
        "num_images": 1,
        **{name: getattr(spec.defaults, name) for name in SCHEDULER_FIELDS},
        **dict.fromkeys((*REPAINT_FIELDS, "upscale")),
    }
    return request.model_copy(update=usual)


def neutral_inputs(inputs: Inputs) -> Inputs:
    """Uniformly grey images and all-white masks of the same size."""
    return {slot: np.full_like(pixels, _WHITE if role_of(slot) == "mask" else _GRAY) for slot, pixels in inputs.items()}


def overflow_error(
    spec: ModelSpec, request: GenerationRequest, dtype: torch.dtype, *, model_draws: bool
) -> GenerationError:
    """The error for `request` that overflowed in `dtype`. `model_draws`: with default settings it does not."""
    what = f"{spec.id} returned NaN or infinity instead of an image in {dtype_name(dtype)}"
    advice = _advice(spec, request)
    if model_draws:
        return GenerationError(f"{what}; with its default settings it works. {advice or 'Choose other settings.'}")
    damaged = "its weights are damaged: fetch the model again"
    if advice:
        return GenerationError(f"{what}. {advice} If that does not help, {damaged}.")
    return GenerationError(f"{what}. Other settings may work; if none does, {damaged}.")


def _advice(spec: ModelSpec, request: GenerationRequest) -> str:
    usual = spec.defaults.guidance_scale
    applied = [lora.id for lora in request.loras if lora.scale]
    return " ".join(
        [
            *([f"Lower the scale of its LoRAs ({', '.join(applied)}), or leave them out."] if applied else []),
            *(
                [f"Choose a guidance_scale below {request.guidance_scale:g}."]
                if request.guidance_scale not in (None, usual)
                else []
            ),
        ]
    )

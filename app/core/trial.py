"""Requests that no client sent: to warm a model up, and to measure it."""

from __future__ import annotations

from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.core.schedulers.choice import FIELDS as SCHEDULER_FIELDS
from app.core.tasks import TXT2IMG

_PROMPT = "a sailing boat on a lake in front of mountains"


def trial_request(
    spec: ModelSpec,
    *,
    prompt: str = _PROMPT,
    steps: int | None = None,
    seed: int = 1,
    size: tuple[int, int] | None = None,
) -> GenerationRequest:
    """A picture or video of words by `spec` with its default settings, in `steps` or its usual number of steps, of
    `size` (width, height) in pixels or its usual one."""
    defaults = spec.defaults
    width, height = size or (defaults.width, defaults.height)
    return GenerationRequest(
        model_id=spec.id,
        prompt=prompt,
        num_inference_steps=spec.steps.fixed or steps or spec.steps.default,
        guidance_scale=defaults.guidance_scale,
        width=width,
        height=height,
        num_frames=defaults.num_frames,
        fps=defaults.fps,
        seed=seed,
        task="txt2video" if spec.media == "video" else TXT2IMG,
        **{name: getattr(defaults, name) for name in SCHEDULER_FIELDS},
    )

"""How the pipeline classes of diffusers are called: the arguments that decide what a model can do.

Generated from the installed diffusers (`python -m tools.pipeline_calls`), so that the API needs no import of it. The
engine reads the same from the class itself, also for classes that are not in the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

READ_ARGUMENTS = frozenset(
    {
        *("prompt", "negative_prompt", "width", "height", "num_inference_steps", "strength", "max_area"),
        *("guidance_scale", "guidance_scale_2", "true_cfg_scale", "distilled_guidance_scale"),
        *("image", "images", "input_images", "mask_image", "num_images_per_prompt", "max_sequence_length"),
        *("num_frames", "frames", "video_length", "frame_rate", "fps"),
        *("control_image", "control_mask", "control_video", "video", "audio", "reference_images"),
        *("prompt_2", "clip_skip", "ip_adapter_image", "sigmas", "timesteps", "callback_on_step_end"),
    }
)


@dataclass(frozen=True)
class PipelineCall:
    """`takes`: arguments and their defaults (None for those that are not a number, a text or a truth value);
    `requires`: those without a default; `siblings`: classes by task over the same weights."""

    takes: Mapping[str, Any]
    requires: frozenset[str] = frozenset()
    siblings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def default(self, name: str) -> Any:
        return self.takes.get(name)


def call_of(pipeline_class: str) -> PipelineCall | None:
    """The call of a class of the installed diffusers; None for one that it does not have."""
    return _table().get(pipeline_class)


@cache
def _table() -> Mapping[str, PipelineCall]:
    text = files(__package__).joinpath("pipelines.json").read_text(encoding="utf-8")
    return {
        name: PipelineCall(entry["takes"], frozenset(entry.get("requires", ())), entry.get("siblings", {}))
        for name, entry in json.loads(text).items()
    }

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

FRAMES_ARGUMENTS = ("num_frames", "frames", "video_length")
PICTURE_ARGUMENTS = ("image", "images", "input_images")
SENT_ARGUMENTS = frozenset({"prompt", "mask_image", *PICTURE_ARGUMENTS})  # a call that requires others cannot be made
NOT_SENT_ARGUMENTS = frozenset({"control_image", "control_mask", "control_video", "audio"})
# What is kept of each call.
READ_ARGUMENTS = frozenset(
    {*SENT_ARGUMENTS, *NOT_SENT_ARGUMENTS, *FRAMES_ARGUMENTS, "width", "height", "strength", "frame_rate"}
)


@dataclass(frozen=True)
class PipelineCall:
    """`takes`: arguments and their defaults (None for those that are not a number, a text or a truth value);
    `requires`: those without a default; `siblings`: classes by task over the same weights."""

    takes: Mapping[str, Any]
    requires: frozenset[str] = frozenset()
    siblings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


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

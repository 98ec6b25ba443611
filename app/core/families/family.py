"""The record of one model family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.core.tasks import Task

NO_SIBLINGS: Mapping[Task, str] = MappingProxyType({})


@dataclass(frozen=True)
class VideoRules:
    """`num_frames` is one more than a multiple of `frame_step`, sizes are multiples of `multiple_of` pixels; the rest
    are the family's defaults. `fps`: frames per second."""

    frame_step: int
    multiple_of: int
    width: int
    height: int
    num_frames: int
    fps: int


@dataclass(frozen=True)
class Family:
    """What the classes of a family do not say themselves.

    `classes`: names of pipeline classes, or beginnings of names that end with `*`; the first match in the list of
    families counts. `tasks`: those of these classes, where the signature of their call misleads. `siblings`: classes by
    task over the same weights that diffusers' AutoPipeline does not know; `sibling_flag`: the entry of the pipeline's
    configuration without which the weights are for one task only. `most_pictures`: of an edit.

    `merges`: prompts are padded to one length, so that several jobs in one call draw what each would alone. `xformers`:
    its attention can be replaced without changing what it computes. `made_in_float16`: as the weights of FLUX, SD 3 and
    later were not. `float32_parts` were trained in float32 and are small. `loras`: the kinds of LoRAs (`core/loras.py`)
    whose tensors have the names of its own; empty if unknown. `schedulers` are those that may replace its own, by the
    names of `core/schedulers`; empty: it keeps its own. `step_caches`: the kinds (`core/acceleration.py`) that
    diffusers' pipelines can use, by class. `prompt_weights`: weights and long prompts are read, since its
    text encoders are all CLIP.
    """

    name: str
    classes: tuple[str, ...]
    tasks: tuple[Task, ...] | None = None
    siblings: Mapping[Task, str] = field(default_factory=lambda: NO_SIBLINGS)
    sibling_flag: str = ""
    most_pictures: int = 1
    video: VideoRules | None = None
    merges: frozenset[str] = frozenset()
    xformers: bool = False
    made_in_float16: bool = False
    float32_parts: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    prompt_weights: bool = False
    step_caches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, pipeline_class: str) -> bool:
        return any(
            pipeline_class.startswith(name[:-1]) if name.endswith("*") else pipeline_class == name
            for name in self.classes
        )

"""Families of local video models, with the rules of their diffusers pipelines.

Copied here so that the API needs no import of diffusers; tests/engines compares it to the installed version. A
catalogue line overrides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.core.catalog import Defaults, Limits, ModelSpec
from app.core.sizes import working_size
from app.core.tasks import VIDEO_TASKS, Task


@dataclass(frozen=True)
class VideoFamily:
    """`num_frames` is one more than a multiple of `frame_step`, sizes are multiples of `multiple_of` pixels; the rest
    are the family's defaults. `fps`: frames per second."""

    tasks: tuple[Task, ...]
    frame_step: int
    multiple_of: int
    width: int
    height: int
    num_frames: int
    fps: int


_LTX = VideoFamily(VIDEO_TASKS, frame_step=8, multiple_of=32, width=704, height=512, num_frames=161, fps=25)
_WAN = VideoFamily(("txt2video",), frame_step=4, multiple_of=16, width=832, height=480, num_frames=81, fps=16)
VIDEO_FAMILIES: Mapping[str, VideoFamily] = {
    "LTXPipeline": _LTX,
    "LTXImageToVideoPipeline": _LTX,
    "LTXConditionPipeline": _LTX,
    "WanPipeline": _WAN,
    "WanImageToVideoPipeline": replace(_WAN, tasks=("img2video",)),
}
USUAL_FPS = 16  # for unknown families
# For a model not yet on this machine: suits every family here, with any number of frames on request.
_NOT_DOWNLOADED = VideoFamily(
    VIDEO_TASKS, frame_step=1, multiple_of=32, width=704, height=480, num_frames=81, fps=USUAL_FPS
)


def with_family(spec: ModelSpec, pipeline_class: str | None) -> ModelSpec:
    """`spec` of a local model, with its family's rules where the catalogue line has none. `pipeline_class` is None
    while unknown; an unknown class leaves `spec` unchanged."""
    family = _NOT_DOWNLOADED if pipeline_class is None else VIDEO_FAMILIES.get(pipeline_class)
    if family is None or spec.media != "video":
        return spec
    ruled = _with(spec, limits=_limits(spec.limits, family))
    return _with(ruled, defaults=spec.defaults.model_copy(update=_defaults(ruled, family)))


def nearest_frames(asked: int, step: int) -> int:
    """The largest number of frames that is at most `asked` and one more than a multiple of `step`."""
    return (max(asked, 1) - 1) // step * step + 1


def _limits(stated: Limits, family: VideoFamily) -> Limits:
    rules = {"multiple_of": family.multiple_of, "frame_step": family.frame_step}
    return stated.model_copy(update={name: rule for name, rule in rules.items() if name not in stated.model_fields_set})


def _defaults(spec: ModelSpec, family: VideoFamily) -> dict[str, int]:
    """Defaults that the catalogue line leaves open, within its limits and those of the installation."""
    stated, limits = spec.defaults, spec.limits
    own: dict[str, int] = {}
    if stated.num_frames is None:
        most = min(family.num_frames, limits.max_frames or family.num_frames)
        own["num_frames"] = nearest_frames(most, limits.frame_step)
    if stated.fps is None:
        own["fps"] = min(family.fps, limits.max_fps or family.fps)
    if stated.width is None and stated.height is None:
        width, height = working_size((family.width, family.height), (None, None), spec)
        own |= {"width": width, "height": height}
    return own


def _with(spec: ModelSpec, **options: Limits | Defaults) -> ModelSpec:
    return spec.model_copy(update={"options": spec.options.model_copy(update=options)})

"""Rules of local video models: what a catalogue line leaves open is filled in from the family."""

from __future__ import annotations

from app.core.catalog import Defaults, Limits, ModelSpec
from app.core.families.family import VideoRules
from app.core.families.lookup import USUAL_FPS, video_rules
from app.core.sizes import working_size

# For a model not yet on this machine: suits every family here, with any number of frames on request.
_NOT_DOWNLOADED = VideoRules(frame_step=1, multiple_of=32, width=704, height=480, num_frames=81, fps=USUAL_FPS)


def with_family(spec: ModelSpec, pipeline_class: str | None) -> ModelSpec:
    """`spec` of a local model, with its family's rules where the catalogue line has none. `pipeline_class` is None
    while unknown; an unknown class leaves `spec` unchanged."""
    rules = _NOT_DOWNLOADED if pipeline_class is None else video_rules(pipeline_class)
    if rules is None or spec.media != "video":
        return spec
    ruled = _with(spec, limits=_limits(spec.limits, rules))
    return _with(ruled, defaults=spec.defaults.model_copy(update=_defaults(ruled, rules)))


def nearest_frames(asked: int, step: int) -> int:
    """The largest number of frames that is at most `asked` and one more than a multiple of `step`."""
    return (max(asked, 1) - 1) // step * step + 1


def _limits(stated: Limits, rules: VideoRules) -> Limits:
    own = {"multiple_of": rules.multiple_of, "frame_step": rules.frame_step}
    return stated.model_copy(update={name: rule for name, rule in own.items() if name not in stated.model_fields_set})


def _defaults(spec: ModelSpec, rules: VideoRules) -> dict[str, int]:
    """Defaults that the catalogue line leaves open, within its limits and those of the installation."""
    stated, limits = spec.defaults, spec.limits
    own: dict[str, int] = {}
    if stated.num_frames is None:
        most = min(rules.num_frames, limits.max_frames or rules.num_frames)
        own["num_frames"] = nearest_frames(most, limits.frame_step)
    if stated.fps is None:
        own["fps"] = min(rules.fps, limits.max_fps or rules.fps)
    if stated.width is None and stated.height is None:
        width, height = working_size((rules.width, rules.height), (None, None), spec)
        own |= {"width": width, "height": height}
    return own


def _with(spec: ModelSpec, **options: Limits | Defaults) -> ModelSpec:
    return spec.model_copy(update={"options": spec.options.model_copy(update=options)})

"""The model catalogue within the limits of the installation."""

from __future__ import annotations

from app.config import Settings
from app.core.acceleration import fetches_code, parse_step_cache
from app.core.catalog import Catalog, ModelSpec, StepRule
from app.core.catalog_lines import build_catalog
from app.errors import ConfigurationError


def catalog_of(settings: Settings) -> Catalog:
    """The models of this installation, limited by its settings. Raises ConfigurationError."""
    catalog = build_catalog(settings.model_lines, settings.default_model_id)
    _check_acceleration(catalog, settings)
    return Catalog([_within(spec, settings) for spec in catalog.everything], catalog.default_id)


def _check_acceleration(catalog: Catalog, settings: Settings) -> None:
    """Raise ConfigurationError for a STEP_CACHE that does not exist, and kernels of the hub that are not allowed."""
    problems = []
    try:
        parse_step_cache(settings.step_cache)
    except ValueError as error:
        problems.append(f"STEP_CACHE: {error}")
    if not settings.allow_hub_kernels:
        problems += [
            f"{spec.name}: the kernels {spec.options.attention} are code of the hub, downloaded and run; set"
            " ALLOW_HUB_KERNELS=true if they may be, or choose others"
            for spec in catalog
            if fetches_code(spec.options.attention)
        ]
    if problems:
        raise ConfigurationError(problems)


def _within(spec: ModelSpec, settings: Settings) -> ModelSpec:
    """`spec` with the limits of the installation. Its default size, length and fixed steps are kept: the operator chose
    them."""
    limits, defaults = spec.limits, spec.defaults
    pixels = _least(limits.max_pixels, settings.max_pixels)
    tightened = limits.model_copy(
        update={
            "max_images": min(limits.max_images, settings.max_images_per_job),
            "max_pixels": max(pixels, (defaults.width or 0) * (defaults.height or 0)),
            "max_steps": _least(limits.max_steps, settings.max_steps),
            "max_frames": max(_least(limits.max_frames, settings.max_num_frames), defaults.num_frames or 0),
            "max_fps": max(_least(limits.max_fps, settings.max_fps), defaults.fps or 0),
        }
    )
    options = spec.options.model_copy(update={"limits": tightened})
    return spec.model_copy(update={"options": options, "steps": _at_most(spec.steps, tightened.max_steps)})


def _least(own: int | None, most: int) -> int:
    return most if own is None else min(own, most)


def _at_most(rule: StepRule, most: int | None) -> StepRule:
    if rule.fixed is not None or most is None or rule.max <= most:
        return rule
    return rule.model_copy(update={"min": min(rule.min, most), "max": most, "default": min(rule.default, most)})

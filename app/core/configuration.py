"""Reads settings and catalogue together, so that the mistakes of both are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from app.config import Read, Settings, read_settings
from app.config.load import ENV_FILE
from app.core.catalog import Catalog, ModelSpec, StepRule, build_catalog
from app.errors import ConfigurationError

LIKENESS = 0.84  # of two names, by difflib: about one letter of difference


def read_configuration(environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> Read:
    """Read and validate the settings and the catalogue. Raises ConfigurationError listing every mistake, including
    those of MODEL_ lines."""
    read = read_settings(environment, env_file)
    problems = list(read.problems)
    try:
        catalog_of(read.settings)
    except ConfigurationError as error:
        problems += [problem + _suggestion(problem.partition(":")[0]) for problem in error.problems]
    if problems:
        problems += read.warnings  # may be the cause
        raise ConfigurationError(problems)
    return read


def similar_setting(name: str, likeness: float = LIKENESS) -> str | None:
    """The setting with the most similar name, for "did you mean"; None if there is none."""
    known = [each.upper() for each in Settings.model_fields if each != "model_lines"]
    found = difflib.get_close_matches(name.upper(), known, n=1, cutoff=likeness)
    return found[0] if found else None


def _suggestion(name: str) -> str:
    """A hint for MODEL_… variables that are read as models but resemble a setting, such as MODEL_IDLE_SECOND."""
    meant = similar_setting(name) if name.startswith("MODEL_") else None
    return f" Did you mean {meant}?" if meant else ""


def catalog_of(settings: Settings) -> Catalog:
    """The models of this installation, limited by its settings. Raises ConfigurationError."""
    catalog = build_catalog(settings.model_lines, settings.default_model_id)
    return Catalog([_within(spec, settings) for spec in catalog], catalog.default_id)


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

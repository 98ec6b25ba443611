"""Reads the settings and the model catalogue together, so that the mistakes of both are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from app.config import LoadedSettings, Settings, read_settings
from app.config.load import ENV_FILE
from app.core.catalog_limits import catalog_of
from app.core.preload import parse_preload
from app.errors import ConfigurationError

LIKENESS = 0.84  # of two names, by difflib: about one letter of difference


def read_configuration(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE
) -> LoadedSettings:
    """Read and validate the settings and the catalogue. Raises ConfigurationError listing every mistake, including
    those of MODEL_ lines."""
    read = read_settings(environment, env_file)
    problems = list(read.problems)
    try:
        parse_preload(read.settings.preload, catalog_of(read.settings))
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

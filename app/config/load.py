"""Loads and validates the settings of this installation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from app.config.env_file import misread_lines, read_env_file
from app.config.kinds import ROOT
from app.config.profiles import profile_defaults
from app.config.settings import Settings
from app.errors import ConfigurationError

ENV_FILE = ROOT / ".env"


@dataclass(frozen=True)
class LoadedSettings:
    """Result of reading the settings. Invalid values are replaced by defaults in `settings` and listed in `problems`.

    `given` are the names of the settings that are set. `unknown` are variables of the file that are not settings.
    """

    settings: Settings
    problems: tuple[str, ...] = ()
    given: frozenset[str] = field(default_factory=frozenset)
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # lines that python-dotenv reads differently than written


def load_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE, **overrides: Any
) -> Settings:
    """Read `.env` and the environment (which wins); `overrides` win over both.

    Raises ConfigurationError listing every mistake.
    """
    read = read_settings(environment, env_file, **overrides)
    if read.problems:
        raise ConfigurationError(read.problems)
    return read.settings


def read_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE, **overrides: Any
) -> LoadedSettings:
    """As `load_settings`, with details. Raises ConfigurationError only for an unreadable file.

    ENV_FILE in the environment selects another file.
    """
    surroundings = os.environ if environment is None else environment
    chosen = _chosen(env_file, surroundings) if env_file is not None else None
    in_file = read_env_file(chosen) if chosen is not None else {}
    merged = {**in_file, **surroundings}
    given: dict[str, Any] = {
        name: merged[name.upper()] for name in Settings.model_fields if merged.get(name.upper(), "") != ""
    } | overrides
    models = {name: line for name, line in merged.items() if _is_model_line(name) and line.strip()}
    profile = profile_defaults(str(given.get("environment", "")), str(given.get("preset", "")))
    values = {"model_lines": models, **profile, **given}
    settings, problems = _validate(values)
    unknown = tuple(name for name in in_file if name.lower() not in Settings.model_fields and name not in models)
    warnings = tuple(sentence for name, sentence in misread_lines(chosen) if name not in surroundings) if chosen else ()
    return LoadedSettings(settings, tuple(problems), frozenset(given) - {"model_lines"}, unknown, warnings)


def _chosen(env_file: Path, environment: Mapping[str, str]) -> Path:
    named = environment.get("ENV_FILE", "") if env_file == ENV_FILE else ""
    if named and not Path(named).is_file():
        raise ConfigurationError([f"ENV_FILE: there is no file {named}"])
    return Path(named) if named else env_file


def _is_model_line(name: str) -> bool:
    return name.startswith("MODEL_") and name.lower() not in Settings.model_fields


def _validate(values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Validate repeatedly without the invalid values, so that mistakes across several settings are reported too."""
    problems: list[str] = []
    while True:
        try:
            return Settings(**values), problems
        except ValidationError as error:
            invalid = error.errors()
        problems += [_explain(problem) for problem in invalid]
        wrong = set(_names_of(invalid))
        if not wrong & set(values):  # a valid value conflicts with another setting's default
            return Settings(model_lines=values["model_lines"]), problems
        values = {name: value for name, value in values.items() if name not in wrong}


def _names_of(problems: Iterable[Any]) -> Iterable[str]:
    """Names of the invalid settings. A mistake across several settings has one of their names in its message."""
    for problem in problems:
        yield str(problem["loc"][0]) if problem["loc"] else _explain(problem).partition(":")[0].lower()


def _explain(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:  # across several settings: the message names them
        return message
    name = str(problem["loc"][0]).upper()
    field = Settings.model_fields.get(name.lower())
    value = str(problem.get("input"))
    is_secret = name == "DATABASE_URL" or (field is not None and field.annotation is SecretStr)
    has_password = "://" in value and "@" in value
    shown = "" if is_secret or has_password else f" (it is {value[:80]!r})"
    return f"{name}: {message}{shown}"

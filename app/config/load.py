"""Read the settings of this installation."""

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
class Read:
    """`settings` have a default in the place of every wrong value; `problems` say what is wrong.

    `given` are the names of the settings that somebody set. `unknown` are variables of the file that no setting has
    the name of.
    """

    settings: Settings
    problems: tuple[str, ...] = ()
    given: frozenset[str] = field(default_factory=frozenset)
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # what the file says and python-dotenv reads as something else, in sentences


def load_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE, **overrides: Any
) -> Settings:
    """Read `.env` and the environment (which wins); `overrides` win over both.

    Raises ConfigurationError that lists every mistake at once.
    """
    read = read_settings(environment, env_file, **overrides)
    if read.problems:
        raise ConfigurationError(read.problems)
    return read.settings


def read_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE, **overrides: Any
) -> Read:
    """What `load_settings` does, for who wants to know more. Raises ConfigurationError only for an unreadable file.

    The environment's ENV_FILE names another file than the usual one.
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
    return Read(settings, tuple(problems), frozenset(given) - {"model_lines"}, unknown, warnings)


def _chosen(env_file: Path, environment: Mapping[str, str]) -> Path:
    named = environment.get("ENV_FILE", "") if env_file == ENV_FILE else ""
    if named and not Path(named).is_file():
        raise ConfigurationError([f"ENV_FILE: there is no file {named}"])
    return Path(named) if named else env_file


def _is_model_line(name: str) -> bool:
    return name.startswith("MODEL_") and name.lower() not in Settings.model_fields


def _validate(values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Validates again without the wrong values, so that what is wrong with several together shows as well."""
    problems: list[str] = []
    while True:
        try:
            return Settings(**values), problems
        except ValidationError as error:
            complaints = error.errors()
        problems += [_explain(complaint) for complaint in complaints]
        wrong = set(_names_of(complaints))
        if not wrong & set(values):  # a rule that somebody's value broke with another one's default
            return Settings(model_lines=values["model_lines"]), problems
        values = {name: value for name, value in values.items() if name not in wrong}


def _names_of(complaints: Iterable[Any]) -> Iterable[str]:
    """The settings at fault. What is wrong with several together names one of them in its message."""
    for complaint in complaints:
        yield str(complaint["loc"][0]) if complaint["loc"] else _explain(complaint).partition(":")[0].lower()


def _explain(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:  # of several settings together: it names them itself
        return message
    name = str(problem["loc"][0]).upper()
    field = Settings.model_fields.get(name.lower())
    is_secret = name == "DATABASE_URL" or (field is not None and field.annotation is SecretStr)
    shown = "" if is_secret else f" (it is {str(problem.get('input'))[:80]!r})"
    return f"{name}: {message}{shown}"

"""Read the settings of this installation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from app.config.kinds import ROOT
from app.config.settings import Settings
from app.env_file import read_env_file
from app.errors import ConfigurationError


def load_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ROOT / ".env", **overrides: Any
) -> Settings:
    """Read `.env` and the environment (which wins); `overrides` win over both.

    Raises ConfigurationError that lists every mistake at once.
    """
    merged: dict[str, str] = {}
    if env_file is not None:
        merged.update(read_env_file(env_file))
    merged.update(os.environ if environment is None else environment)
    values: dict[str, Any] = {
        name: merged[name.upper()] for name in Settings.model_fields if merged.get(name.upper(), "") != ""
    }
    values["model_lines"] = {
        key: value
        for key, value in merged.items()
        if key.startswith("MODEL_") and key.lower() not in Settings.model_fields and value.strip()
    }
    try:
        return Settings(**(values | overrides))
    except ValidationError as error:
        raise ConfigurationError(_explain(problem) for problem in error.errors()) from None


def _explain(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:  # of several settings together: it names them itself
        return message
    name = str(problem["loc"][0]).upper()
    field = Settings.model_fields.get(name.lower())
    is_secret = name == "DATABASE_URL" or (field is not None and field.annotation is SecretStr)
    shown = "" if is_secret else f" (it is {str(problem.get('input'))[:80]!r})"
    return f"{name}: {message}{shown}"

"""Kinds of values that several groups of settings use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

ROOT = Path(__file__).resolve().parent.parent.parent


def _from_root(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


Folder = Annotated[Path, AfterValidator(_from_root)]  # relative ones start at the project's folder
LIVE: dict[str, JsonValue] = {"live": True}  # json_schema_extra of what may change while everything runs
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

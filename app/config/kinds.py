"""Types and helpers shared by several groups of settings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from app.process.places import CODE

# Where .env and relative paths are: the checkout, or of an installed package the working directory.
ROOT = CODE if (CODE / "run.py").exists() else Path.cwd()


def expanded_path(path: Path) -> Path:
    """`path` with `~` and `$NAME` expanded, relative to the project's folder. Raises ValueError."""
    return ROOT / _expanded(str(path))


def _expanded(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError(
            "the path contains a line break or another control character; in double quotes a backslash is an escape:"
            " use single quotes, or /"
        )
    filled = os.path.expanduser(os.path.expandvars(text))
    if missing := _VARIABLE.search(filled):
        raise ValueError(f"{missing[0]} is not set in the environment")
    if filled.startswith("~"):
        raise ValueError(f"there is no user {filled.partition('/')[0][1:]!r} for ~; use an absolute path")
    return filled


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")
Folder = Annotated[Path, AfterValidator(expanded_path)]
PathText = Annotated[str, AfterValidator(_expanded)]  # for settings whose empty value is not a folder
LIVE: dict[str, JsonValue] = {"live": True}  # json_schema_extra of settings that can be reloaded
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

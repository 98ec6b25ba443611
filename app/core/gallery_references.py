"""References to gallery pictures in the input of remote models, at any depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

GALLERY = "cyberimage://image/"  # before an id: a gallery picture to upload when the model runs
_ID = re.compile(r"[0-9a-f]{32}")


def references(value: Any, path: str = "input") -> Iterator[tuple[str, str]]:
    """Yields each reference in `value`: the path of its field, and the id, which may be invalid."""
    if isinstance(value, str):
        if value.startswith(GALLERY):
            yield path, value.removeprefix(GALLERY)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from references(part, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from references(part, f"{path}.{index}")


def is_image_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def replace_strings(value: Any, replaced: Callable[[str], str]) -> Any:
    """`value` with `replaced` applied to each string, at any depth."""
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, Mapping):
        return {name: replace_strings(part, replaced) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [replace_strings(part, replaced) for part in value]
    return value

"""References to pictures of the gallery in the inputs of remote models, at any depth of an input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

GALLERY = "cyberimage://image/"  # before an id: a picture of ours, to be uploaded when the model is run
_ID = re.compile(r"[0-9a-f]{32}")


def references(value: Any, path: str = "input") -> Iterator[tuple[str, str]]:
    """Each reference in `value`: the path of its field, and the id, which may be none."""
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
    """`value` with each of its strings, at any depth, as `replaced` gives it."""
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, Mapping):
        return {name: replace_strings(part, replaced) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [replace_strings(part, replaced) for part in value]
    return value

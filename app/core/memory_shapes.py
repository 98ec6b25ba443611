"""The parts of well-known models, from `memory_shapes.json`: their memory is planned before anything is downloaded.

Each part was counted from the class that it names as its source; numbers in 16 bit, as most repositories have them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from app.core.memory_parts import PartShape, PictureSize


@dataclass(frozen=True)
class KnownModel:
    """`repos`: those that hold these parts, or parts of the same sizes. `size`: what it usually draws."""

    name: str
    repos: tuple[str, ...]
    size: PictureSize
    parts: tuple[PartShape, ...]
    sources: tuple[str, ...]

    @property
    def numbers(self) -> int:
        return sum(part.numbers for part in self.parts)


@cache
def known_models() -> Mapping[str, KnownModel]:
    """By name, from the smallest."""
    listed = json.loads((files(__package__) / "memory_shapes.json").read_text(encoding="utf-8"))
    models = [
        KnownModel(
            name,
            tuple(data["repos"]),
            PictureSize(*data["size"]),
            tuple(
                PartShape(**{key: value for key, value in part.items() if key != "source"}) for part in data["parts"]
            ),
            tuple(part["source"] for part in data["parts"]),
        )
        for name, data in listed.items()
    ]
    return {model.name: model for model in sorted(models, key=lambda model: model.numbers)}


def _part(data: Mapping[str, Any]) -> PartShape:
    return PartShape(**{key: value for key, value in data.items() if key != "source"})


@cache
def known_model(repo: str) -> KnownModel | None:
    """The model in the repository `repo`, in any case."""
    wanted = repo.casefold()
    return next((model for model in known_models().values() if wanted in map(str.casefold, model.repos)), None)

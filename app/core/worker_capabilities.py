"""What one worker can run, as it reports it: the models, LoRAs and embeddings of its disk, and its device.

A report is a value. It crosses the database as JSON that other versions may read: what they do not know is left out,
and what they did not say has a default.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from app.core.loras import repo_of
from app.core.needs import Needs

LackOf = Literal["model", "lora", "embedding", "input model", "detector", "provider"]
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Lack:
    """One thing that a worker would need to run a job, by its name in the request."""

    kind: LackOf
    name: str


@dataclass(frozen=True)
class Capabilities:
    """`here` are the catalogue's models whose files are on the worker's disk, `loadable` those that it would download
    first, auxiliary models and upscalers included; `tight` those of both that seem larger than its memory.
    `pipelines`: pipeline classes of models that are here. `loras`: their families by name, None where unknown;
    `hub_loras`: whether it downloads LoRAs. `embeddings`: the columns of their matrices by encoder. `detectors`: the
    processors of control pictures that it has models for. `sources`: the providers that it has a key of. Bytes are of
    the device and of main memory, 0 where unknown; `compute_capability` is that of an NVIDIA GPU, `large_models` False
    of a CPU that was not asked for."""

    lane: str = "local"
    here: frozenset[str] = frozenset()
    loadable: frozenset[str] = frozenset()
    tight: frozenset[str] = frozenset()
    pipelines: Mapping[str, str] = field(default_factory=dict)
    loras: Mapping[str, str | None] = field(default_factory=dict)
    hub_loras: bool = False
    embeddings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    detectors: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    device: str = ""
    device_name: str = ""
    device_bytes: int = 0
    ram_bytes: int = 0
    compute_capability: str = ""
    large_models: bool = True

    @cached_property
    def body(self) -> str:
        """The report as JSON, the same for equal reports."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(
            {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()},
            sort_keys=True,
        )

    @cached_property
    def digest(self) -> str:
        """The name under which reports are stored: workers that can do the same share one."""
        return hashlib.sha256(self.body.encode()).hexdigest()

    @classmethod
    def read(cls, body: str) -> Capabilities:
        """The report of `body`. Raises ValueError if it is none."""
        found = json.loads(body)
        if not isinstance(found, dict):
            raise ValueError("a report is an object")
        return cls(**{each.name: _value(each.name, found[each.name]) for each in fields(cls) if each.name in found})

    def lacks(self, needs: Needs) -> Sequence[Lack]:
        """What the worker would have to have to run a job with these needs; empty if it can."""
        if needs.source:
            lacking = [] if needs.source in self.sources else [Lack("provider", needs.source)]
            return lacking + self._without("model", [needs.model] if needs.model else [])
        return [
            *self._without("model", [needs.model]),
            *(Lack("lora", name) for name in needs.loras if not self.has_lora(name)),
            *(Lack("embedding", name) for name in needs.embeddings if name not in self.embeddings),
            *self._without("input model", needs.beside),
            *(Lack("detector", name) for name in needs.detectors if name not in self.detectors),
        ]

    def can_run(self, needs: Needs) -> bool:
        return not self.lacks(needs)

    def has_lora(self, lora_id: str) -> bool:
        """Whether it has the file of LORAS_DIR that the id names, or may download the repository of that name. Of an
        absolute path the end counts: the folders of two hosts need not be the same."""
        return (self.hub_loras and repo_of(lora_id) is not None) or self._finds(lora_id)

    def lora_family(self, lora_id: str) -> str | None:
        """The family of a LoRA that is here; None where it is unknown."""
        name = self._folded.get(_folded(lora_id))
        return None if name is None else self.loras[name]

    def _finds(self, lora_id: str) -> bool:
        wanted = _folded(lora_id)
        if wanted in self._folded:
            return True
        return posixpath.isabs(wanted) and any(wanted.endswith(f"/{name}") for name in self._folded)

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {_folded(name): name for name in self.loras}

    def _without(self, kind: LackOf, models: Sequence[str]) -> list[Lack]:
        return [Lack(kind, name) for name in models if name not in self.here and name not in self.loadable]


def _folded(lora_id: str) -> str:
    """A file's name in any case, with or without its suffix."""
    name = lora_id.casefold() if "\0" in lora_id else posixpath.normpath(lora_id).casefold()
    return name.removesuffix(_SUFFIX)


def _value(name: str, found: Any) -> Any:
    return frozenset(found) if name in _SETS else found


_SETS = frozenset(each.name for each in fields(Capabilities) if str(each.type).startswith("frozenset"))

"""PRELOAD: what a worker imports and loads before it takes jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.catalog import Catalog, ModelSpec
from app.errors import ConfigurationError, UnknownModel

NOTHING, LIBRARIES, DEFAULT = "none", "libraries", "default"


@dataclass(frozen=True)
class Preload:
    """`libraries`: import what the models on this machine need; `models` are loaded too, in this order."""

    libraries: bool
    models: Sequence[ModelSpec] = ()


def parse_preload(text: str, catalog: Catalog) -> Preload:
    """The value of PRELOAD: `none`, `libraries`, `default` (the default model), or names of models separated by commas.

    Raises ConfigurationError for a model that is unknown or runs at a provider.
    """
    choice = text.strip().lower()
    if choice in (NOTHING, LIBRARIES):
        return Preload(choice == LIBRARIES)
    if choice == DEFAULT:
        default = catalog.get(None)
        return Preload(True, (default,) if default.lane == "local" else ())
    chosen = [_local_model(name.strip(), catalog) for name in text.split(",") if name.strip()]
    return Preload(True, tuple({spec.id: spec for spec in chosen}.values()))


def _local_model(name: str, catalog: Catalog) -> ModelSpec:
    try:
        spec = catalog.get(name)
    except UnknownModel as error:
        raise ConfigurationError(
            [f"PRELOAD: {error.detail} Other values: {NOTHING}, {LIBRARIES}, {DEFAULT}."]
        ) from None
    if spec.lane != "local":
        raise ConfigurationError([f"PRELOAD: {spec.id} runs at a provider; there is nothing to load. Take it out."])
    return spec

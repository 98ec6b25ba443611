"""Imports the classes of a model before its first job: they take seconds, and libraries import them on first use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE

from app.core.catalog import ModelSpec
from app.engines.base import EngineSettings
from app.engines.diffusers.load.errors import log
from app.files import hub_cache

_LIBRARIES = ("diffusers", "transformers")  # what else an index names is never imported by its name


def import_classes(spec: ModelSpec, settings: EngineSettings) -> None:
    """Import the pipeline and parts of `spec`, as far as its model_index.json is on this machine. Never raises."""
    for library, name in _classes(hub_cache.read_object(_index_file(spec, settings)), spec.options.pipeline_class):
        try:
            getattr(importlib.import_module(library), name, None)
        except Exception as error:  # noqa: BLE001 - any of another library's; loading the model tells it
            log.info("%s: %s.%s cannot be imported: %s", spec.id, library, name, error)


def _index_file(spec: ModelSpec, settings: EngineSettings) -> Path | None:
    described_by = spec.options.base or spec.repo
    folders = [place for place in settings.places_of(described_by) if place.is_dir()]
    if folders and (spec.source == "local" or spec.options.base):
        return folders[0] / "model_index.json"
    if not hub_cache.is_repo_id(described_by):
        return None
    return next(hub_cache.indexes(Path(HF_HUB_CACHE), described_by), None)


def _classes(index: dict[str, Any], pipeline_class: str | None) -> Iterator[tuple[str, str]]:
    """(library, class) of the pipeline and of each of its parts."""
    pipeline = pipeline_class or index.get("_class_name")
    if isinstance(pipeline, str):
        yield "diffusers", pipeline
    for part in index.values():
        match part:
            case [str(library), str(name)] if library in _LIBRARIES:
                yield library, name

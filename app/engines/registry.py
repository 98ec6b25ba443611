"""Which engine runs which catalogue source. Heavy engines are imported when the first of their models is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from app.core.catalog import ModelSpec
from app.engines.base import Engine, EngineFactory
from app.engines.settings import EngineSettings
from app.errors import ModelUnavailable


def engine_factories(settings: EngineSettings) -> Mapping[str, EngineFactory]:
    """One factory per source that this installation can run. A factory gives the same engine every time it is called;
    `huggingface` and `local` share one, so that their models make room for each other."""

    @cache
    def diffusers_engine() -> Engine:
        logging.getLogger("xformers").setLevel(logging.ERROR)  # it laments without CUDA; attention.py says what matters
        from app.engines.diffusers.engine import DiffusersEngine  # imports torch: seconds, and hundreds of megabytes

        return DiffusersEngine(settings)

    return {"huggingface": diffusers_engine, "local": diffusers_engine}


def engine_for(spec: ModelSpec, factories: Mapping[str, EngineFactory]) -> Engine:
    """The engine of `spec`. Raises ModelUnavailable when no engine runs its source."""
    factory = factories.get(spec.source)
    if factory is None:
        raise ModelUnavailable(
            f"{spec.id} has the source {spec.source!r}, which no engine here runs; use {' or '.join(factories)}."
        )
    return factory()

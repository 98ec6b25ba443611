"""Which engine runs which catalogue source. Heavy engines are imported when the first of their models is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from app.core.catalog import ModelSpec
from app.engines.base import Engine, EngineFactory
from app.engines.openai import OpenAIEngine
from app.engines.remote import RemoteSettings
from app.engines.replicate.engine import ReplicateEngine
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


def remote_factories(settings: RemoteSettings) -> Mapping[str, EngineFactory]:
    """One factory per source that a provider serves. Their engines are safe with threads."""

    @cache
    def replicate_engine() -> Engine:
        return ReplicateEngine(settings)

    @cache
    def openai_engine() -> Engine:
        return OpenAIEngine(settings)

    found: dict[str, EngineFactory] = {}
    if settings.replicate_token:
        found["replicate"] = replicate_engine
    if settings.openai_base_url:
        found["openai"] = openai_engine
    return found


def engine_for(spec: ModelSpec, factories: Mapping[str, EngineFactory]) -> Engine:
    """The engine of `spec`. Raises ModelUnavailable when no engine runs its source."""
    factory = factories.get(spec.source)
    if factory is None:
        raise ModelUnavailable(
            f"{spec.id} has the source {spec.source!r}, which no engine here runs; use {' or '.join(factories)}."
        )
    return factory()

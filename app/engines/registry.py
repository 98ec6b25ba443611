"""Registry of engines by catalogue source. Heavy engines are imported on the first use of one of their models."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from app.core.catalog import ModelSpec
from app.engines.base import Engine, EngineFactory, EngineSettings
from app.engines.engine_servers import EngineServers
from app.engines.openai import OpenAIEngine
from app.engines.remote import RemoteSettings
from app.engines.replicate.engine import ReplicateEngine
from app.errors import ModelUnavailable


def engine_factories(settings: EngineSettings) -> Mapping[str, EngineFactory]:
    """One factory per source of the local lane. A factory returns the same engine every time; `huggingface` and `local`
    share one, so that their models make room for each other."""

    @cache
    def diffusers_engine() -> Engine:
        logging.getLogger("xformers").setLevel(logging.ERROR)  # it warns without CUDA; attention.py logs what matters
        from app.engines.attention_check import preload_cuda_12_runtime  # imports torch: seconds, hundreds of megabytes

        preload_cuda_12_runtime()  # diffusers imports xformers, whose extension is linked with it
        from app.engines.diffusers.engine import DiffusersEngine

        return DiffusersEngine(settings)

    return {"huggingface": diffusers_engine, "local": diffusers_engine}


def remote_factories(settings: RemoteSettings) -> Mapping[str, EngineFactory]:
    """One factory per configured source of the remote lane. Their engines are thread-safe."""

    @cache
    def replicate_engine() -> Engine:
        return ReplicateEngine(settings)

    @cache
    def openai_engine() -> Engine:
        return OpenAIEngine(settings)

    @cache
    def server_engine() -> Engine:
        return EngineServers(settings)

    found: dict[str, EngineFactory] = {"engine": server_engine}
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

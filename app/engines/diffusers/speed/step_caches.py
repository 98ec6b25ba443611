"""Step caches of diffusers, put on for one call and taken off after it, so that nothing of a job reaches the next.

diffusers keeps a cache's state in hooks on the blocks. Hooks that stay would keep it over a call that ended by an
exception, and some pipelines cannot run with them at all, so they live as long as a call. Which kinds a pipeline class
can use is in its family's record, where a test draws with each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    SeaCacheConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

from app.core.acceleration import StepCache
from app.core.families.lookup import caches_of, family_of
from app.core.memory_parts import DENOISERS

_FLUX_FAMILY = "FLUX.1"
_WITHOUT_CONTEXT = ("pyramid", "faster")  # they cannot tell two calls of the denoiser in one step apart
_WITH_CONTEXT = {"first-block", "taylorseer"}  # of pipelines that say which call it is


@dataclass(frozen=True)
class StepCaching:
    """The step cache of a loaded model; `config` None for none."""

    config: StepCache | None = None

    def problem(self, pipeline: Any, arguments: Mapping[str, Any]) -> str:
        """Why a call of `pipeline` with `arguments` is drawn without the cache, as a sentence; empty if it is not."""
        name = type(pipeline).__name__
        if self.config is None:
            return ""
        kind = self.config.kind
        if kind not in caches_of(name):
            return f"{name} cannot use the step cache {kind}: this was drawn without it."
        told_apart = kind not in _WITHOUT_CONTEXT and not _WITH_CONTEXT.isdisjoint(caches_of(name))
        if not told_apart and (arguments.get("true_cfg_scale") or 0) > 1:
            return f"The step cache {kind} cannot be used with true_cfg_scale: this was drawn without it."
        if kind == "mag" and _ratios(self.config, name) is None:
            return f"The step cache mag needs the ratios of the model in its option cache: {name} has no known ones."
        return ""

    def serves(self, pipeline: Any, arguments: Mapping[str, Any]) -> bool:
        return self.config is not None and not self.problem(pipeline, arguments)

    @contextmanager
    def serving(self, pipeline: Any, arguments: Mapping[str, Any], steps: int) -> Iterator[None]:
        """Cache within the block, which is one call of `pipeline` for `steps` denoising steps, if that is possible."""
        if not self.serves(pipeline, arguments):
            yield
            return
        assert self.config is not None
        with ExitStack() as stack:
            for part in denoisers_of(pipeline):
                if hasattr(part, "enable_cache"):
                    part.enable_cache(_diffusers_config(self.config, pipeline, part, steps))
                    stack.callback(part.disable_cache)
            yield


def denoisers_of(pipeline: Any) -> list[Any]:
    found = ((name, part) for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module))
    return [part for name, part in found if name.startswith(DENOISERS)]


def _ratios(cache: StepCache, pipeline_class: str) -> Any:
    """How much the denoiser's output changes from step to step, over all steps; None if it is not known."""
    if cache.ratios is not None:
        return list(cache.ratios)
    family = family_of(pipeline_class)
    return FLUX_MAG_RATIOS if family is not None and family.name == _FLUX_FAMILY else None


def _diffusers_config(cache: StepCache, pipeline: Any, part: Any, steps: int) -> Any:
    def timestep() -> Any:
        now = pipeline.current_timestep if hasattr(pipeline, "current_timestep") else pipeline._current_timestep
        return 1000 if now is None else now

    if cache.kind == "first-block":
        return FirstBlockCacheConfig(threshold=cache.threshold_or_default)
    if cache.kind == "mag":
        ratios = _ratios(cache, type(pipeline).__name__)
        return MagCacheConfig(threshold=cache.threshold_or_default, num_inference_steps=steps, mag_ratios=ratios)
    if cache.kind == "sea":
        return SeaCacheConfig(threshold=cache.threshold_or_default)
    if cache.kind == "taylorseer":
        chosen = {"disable_cache_before_step": cache.warmup_steps, "max_order": cache.order}
        given = {name: value for name, value in chosen.items() if value is not None}
        return TaylorSeerCacheConfig(
            cache_interval=cache.interval_or_default, taylor_factors_dtype=_computed_dtype(part), **given
        )
    if cache.kind == "pyramid":
        return PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=cache.interval_or_default, current_timestep_callback=timestep
        )
    return FasterCacheConfig(
        spatial_attention_block_skip_range=cache.interval_or_default,
        attention_weight_callback=lambda _: 0.5,
        tensor_format="BFCHW",
        current_timestep_callback=timestep,
    )


def _computed_dtype(part: torch.nn.Module) -> torch.dtype:
    """The dtype of its computation; stored weights may be narrower."""
    dtype: torch.dtype = part.dtype  # type: ignore[assignment]
    return dtype if dtype.itemsize > 1 else torch.bfloat16

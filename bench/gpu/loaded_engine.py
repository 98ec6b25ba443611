"""An engine with a pipeline that was made in memory, as a model that it loaded: no checkpoint on a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load.attention import apply_attention
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.loras.cache import LoraCache
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.memory import part_bytes
from app.engines.diffusers.memory.prompt_cache import PromptCache
from app.engines.diffusers.speed.acceleration import accelerate

HERE = Path()


def engine_with(
    pipeline: Any,
    device: torch.device,
    dtype: torch.dtype,
    *,
    options: str = "{}",
    plan: Any = "none",
    previews: bool = False,
) -> tuple[DiffusersEngine, ModelSpec, LoadedModel]:
    """`pipeline` is on its device already, placed by `plan`; `options` are those of a catalogue line."""
    settings = EngineSettings(root=HERE, model_cache_dir=HERE, device=str(device), previews=previews)
    engine = DiffusersEngine(settings)
    spec = parse_model_line(f"random;random;Random weights;local;false;{options}")
    pipeline.set_progress_bar_config(disable=True)
    attention = apply_attention(pipeline, spec.options.attention or "native", device, dtype)
    load_plan = LoadPlan(
        device, dtype, attention=attention, plan=plan, channels_last=bool(spec.options.vae_channels_last), form="16 bit"
    )
    model = LoadedModel(
        spec=spec,
        checkpoint=Checkpoint(HERE, HERE, type(pipeline).__name__, tuple(pipeline.components), {}, "random"),
        pipeline=pipeline,
        load_plan=load_plan,
        part_bytes=part_bytes(pipeline),
        loras=LoraCache(pipeline, spec.id, most=2, most_bytes=2**31),
        prompts=PromptCache(0),
        acceleration=accelerate(pipeline, spec, settings, load_plan),
    )
    engine._model_cache.add(model)
    return engine, spec, model

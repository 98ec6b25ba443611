"""Ways to need less memory, at some cost in time: those that are set from the start, and those left when it ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from app.core.offload import PLANS, Plan
from app.core.request import GenerationRequest
from app.engines.diffusers.load.checkpoint import DENOISERS
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.quantization import AS_IT_IS, Compression

_CPU = torch.device("cpu")
_USUAL_SIDE = 1024  # pixels, of a pipeline that does not tell


def possible_plans(pipeline_class: Any, device: torch.device, compression: Compression = AS_IT_IS) -> tuple[Plan, ...]:
    """There is nothing to offload from a CPU, some pipelines do not say in what order their parts are used, and not all
    ways to keep weights small go with all plans."""
    if device.type != "cuda":
        return ("none",)
    refused: set[Plan] = set() if getattr(pipeline_class, "model_cpu_offload_seq", None) else {"model"}
    if compression.told:
        refused.add("sequential")
    if not compression.movable:
        refused.add("group")
    return tuple(plan for plan in PLANS if plan not in refused)


def place(pipeline: Any, load_plan: LoadPlan) -> None:
    """Bring a new pipeline to its device, as its plan says."""
    device = load_plan.device
    if load_plan.plan == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif load_plan.plan == "group":
        _offload_groups(pipeline, device)
    elif load_plan.plan == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)  # never with a dtype: that would break the parts that stay in float32
    vae: Any = getattr(pipeline, "vae", None)
    if load_plan.tiles and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()


def apply_memory_savings(pipeline: Any, device: torch.device, plan: Plan) -> tuple[str, Plan]:
    """Have each part wait in main memory until it is its turn, so that only the largest must fit, if it does not yet.
    Gives that in words, empty when there is nothing left to save, and the plan that holds from now on: while the model
    is loaded. Pictures stay what they were, to the last bit."""
    if plan != "none" or "model" not in possible_plans(pipeline, device):
        return "", plan
    pipeline.enable_model_cpu_offload(device=device)
    return "its parts wait in main memory", "model"


def can_tile(pipeline: Any) -> bool:
    """Whether the VAE could work in tiles (its peak is what large pictures fail on), and does not yet."""
    vae = getattr(pipeline, "vae", None)
    return hasattr(vae, "enable_tiling") and not getattr(vae, "use_tiling", False)


@contextmanager
def tiled(pipeline: Any, wanted: bool) -> Iterator[None]:
    """Have the VAE work in tiles, if that is `wanted`, and as before afterwards: large pictures come out otherwise."""
    if not wanted or not can_tile(pipeline):
        yield
        return
    pipeline.vae.enable_tiling()
    try:
        yield
    finally:
        pipeline.vae.disable_tiling()


def pixels_of(pipeline: Any, request: GenerationRequest) -> int:
    """Of one picture of `request`; where it does not say, of the pipeline's own size."""
    sample, factor = getattr(pipeline, "default_sample_size", None), getattr(pipeline, "vae_scale_factor", None)
    own = sample * factor if isinstance(sample, int) and isinstance(factor, int) else _USUAL_SIDE
    return (request.width or own) * (request.height or own)


def _offload_groups(pipeline: Any, device: torch.device) -> None:
    """The denoiser's blocks come one after the other, the next one while the last one works: its layers are always used
    in the same order. The other parts work once or twice, and not always from their beginning: layer by layer."""
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        if not getattr(part, "_supports_group_offloading", True):
            part.to(device)
        elif name.startswith(DENOISERS):
            ahead = device.type == "cuda"
            apply_group_offloading(
                part, device, _CPU, offload_type="block_level", num_blocks_per_group=1, use_stream=ahead
            )
        else:
            apply_group_offloading(part, device, _CPU, offload_type="leaf_level")

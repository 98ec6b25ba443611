"""Ways to need less memory, at some cost in time: those that are set from the start, and those left when it ran out."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from app.core.offload import PLANS, Plan
from app.engines.diffusers.checkpoint import DENOISERS
from app.engines.diffusers.quantization import AS_IT_IS, Compression
from app.engines.diffusers.treatment import Treatment

_CPU = torch.device("cpu")


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


def place(pipeline: Any, treatment: Treatment) -> None:
    """Bring a new pipeline to its device, as its plan says."""
    device = treatment.device
    if treatment.plan == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif treatment.plan == "group":
        _offload_groups(pipeline, device)
    elif treatment.plan == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)  # never with a dtype: that would break the parts that stay in float32
    vae: Any = getattr(pipeline, "vae", None)
    if treatment.tiles and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()


def economise(pipeline: Any, device: torch.device, plan: Plan) -> tuple[str, Plan]:
    """Switch on what saves memory and is not on yet. Gives it in words, empty when there is nothing left to save, and
    the plan that holds from now on.

    The VAE works in tiles (its peak is what large pictures fail on); on a GPU, each part waits in main memory until it
    is its turn, so that only the largest must fit. Both stay on while the model is loaded.
    """
    saved: list[str] = []
    vae = getattr(pipeline, "vae", None)
    if vae is not None and hasattr(vae, "enable_tiling") and not getattr(vae, "use_tiling", False):
        vae.enable_tiling()
        saved.append("its VAE works in tiles")
    if plan == "none" and "model" in possible_plans(pipeline, device):
        pipeline.enable_model_cpu_offload(device=device)
        plan = "model"
        saved.append("its parts wait in main memory")
    return " and ".join(saved), plan


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

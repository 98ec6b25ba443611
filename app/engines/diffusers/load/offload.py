"""Offloading and VAE tiling: less memory for more time, chosen at load or after memory ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from app.core.memory_plan import Plan
from app.core.request import GenerationRequest
from app.engines.diffusers.load.group_offload import offload_groups
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.model_offload import offload_parts

_TILE_SIDE = 512  # pixels: decoding a tile takes a quarter of the memory of 1024
_USUAL_SIDE = 1024  # pixels, of a pipeline without a default size


def place(pipeline: Any, load_plan: LoadPlan) -> None:
    """Move a new pipeline to its device according to its offload plan."""
    device = load_plan.device
    if load_plan.plan == "model":
        offload_parts(pipeline, device)
    elif load_plan.plan == "group":
        offload_groups(pipeline, device, pinned=load_plan.pinned, resident_bytes=load_plan.resident_bytes)
    elif load_plan.plan == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)  # never with a dtype: that would break the parts that stay in float32
    vae: Any = getattr(pipeline, "vae", None)
    if load_plan.tiles and hasattr(vae, "enable_tiling"):
        enable_tiles(vae)


def enable_tiles(vae: Any) -> None:
    """Make `vae` work in tiles of at most `_TILE_SIDE` pixels. Those of FLUX, SD 3 and SDXL have 1024, which saves
    nothing at their usual size; video autoencoders name heights and widths, and have small ones already."""
    sample, latent = getattr(vae, "tile_sample_min_size", None), getattr(vae, "tile_latent_min_size", None)
    if isinstance(sample, int) and isinstance(latent, int) and sample > _TILE_SIDE:
        vae.tile_sample_min_size, vae.tile_latent_min_size = _TILE_SIDE, latent * _TILE_SIDE // sample
    vae.enable_tiling()


def apply_memory_savings(pipeline: Any, device: torch.device, plan: Plan) -> tuple[str, Plan]:
    """Switch to the offload plan "model", under which only the largest part must fit the device, if possible. Returns a
    description, empty when nothing changed, and the plan from now on. Images stay bit-identical."""
    if plan != "none" or device.type != "cuda" or not getattr(pipeline, "model_cpu_offload_seq", None):
        return "", plan
    offload_parts(pipeline, device)
    return "its parts are offloaded to main memory", "model"


def can_tile(vae: Any) -> bool:
    """Whether `vae` supports tiling (its memory peak limits the image size) and does not use it yet."""
    return hasattr(vae, "enable_tiling") and not getattr(vae, "use_tiling", False)


@contextmanager
def tiled(pipeline: Any, wanted: bool) -> Iterator[None]:
    """Enable VAE tiling within the block if `wanted`. Tiling changes large images, so it is disabled afterwards."""
    if not wanted or not can_tile(getattr(pipeline, "vae", None)):
        yield
        return
    enable_tiles(pipeline.vae)
    try:
        yield
    finally:
        pipeline.vae.disable_tiling()


def pixels_of(pipeline: Any, request: GenerationRequest) -> int:
    """Pixels of one image of `request`; sizes it leaves out are the pipeline's default."""
    sample, factor = getattr(pipeline, "default_sample_size", None), getattr(pipeline, "vae_scale_factor", None)
    own = sample * factor if isinstance(sample, int) and isinstance(factor, int) else _USUAL_SIDE
    return (request.width or own) * (request.height or own)

"""Ways to need less memory, at some cost in time: those that are set from the start, and those left when it ran out."""

from __future__ import annotations

from typing import Any

import torch

from app.engines.diffusers.log import log
from app.engines.diffusers.memory import is_offloaded
from app.engines.settings import EngineSettings, Offload


def place(pipeline: Any, device: torch.device, settings: EngineSettings) -> None:
    """Bring a new pipeline to `device`, as OFFLOAD and VAE_TILING say."""
    plan = offload_plan(pipeline, device, settings.offload)
    if plan == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif plan == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)  # never with a dtype: that would break the parts that stay in float32
    vae: Any = getattr(pipeline, "vae", None)
    if settings.vae_tiling and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()


def offload_plan(pipeline: Any, device: torch.device, wish: Offload) -> Offload:
    """What of `wish` can be done: there is nothing to offload from a CPU, and some pipelines do not say in what order
    their parts are used."""
    if device.type != "cuda" or wish == "none":
        return "none"
    if wish == "model" and not getattr(pipeline, "model_cpu_offload_seq", None):
        log.warning("%s does not know the order of its parts; it is offloaded layer by layer", type(pipeline).__name__)
        return "sequential"
    return wish


def economise(pipeline: Any, device: torch.device) -> str:
    """Switch on what saves memory and is not on yet; gives it in words, empty when there is nothing left to save.

    The VAE works in tiles (its peak is what large pictures fail on); on a GPU, each part waits in main memory until it
    is its turn, so that only the largest must fit. Both stay on while the model is loaded.
    """
    saved: list[str] = []
    vae = getattr(pipeline, "vae", None)
    if vae is not None and hasattr(vae, "enable_tiling") and not getattr(vae, "use_tiling", False):
        vae.enable_tiling()
        saved.append("its VAE works in tiles")
    if device.type == "cuda" and not is_offloaded(pipeline) and pipeline.model_cpu_offload_seq:
        pipeline.enable_model_cpu_offload(device=device)
        saved.append("its parts wait in main memory")
    return " and ".join(saved)

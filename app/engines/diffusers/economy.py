"""The smaller plan: make a loaded pipeline need less memory, at some cost in time, after memory ran out."""

from __future__ import annotations

from typing import Any

import torch


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
    if device.type == "cuda" and not getattr(pipeline, "_all_hooks", None) and pipeline.model_cpu_offload_seq:
        pipeline.enable_model_cpu_offload(device=device)
        saved.append("its parts wait in main memory")
    return " and ".join(saved)

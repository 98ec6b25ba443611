"""Extracts and decodes the first frame of a video's latents, which a video VAE can decode on its own."""

from __future__ import annotations

from typing import Any

import torch


def first_frame(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    """Latents of the first frame as (videos, channels, height, width); None when the layout is unknown. `size` is the
    width and height of the video in pixels; LTX-Video packs all latents in one row."""
    if latents.ndim == 5:
        return latents[:, :, 0]
    width, height = size
    unpack = getattr(pipeline, "_unpack_latents", None)
    shrinks = getattr(pipeline, "vae_spatial_compression_ratio", None)
    if latents.ndim != 3 or unpack is None or shrinks is None or width is None or height is None:
        return None
    patch, length = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
    rows, columns = height // shrinks // patch, width // shrinks // patch
    whole: torch.Tensor = unpack(latents, latents.shape[1] // (rows * columns), rows, columns, patch, length)
    return whole[:, :, 0]


def decode_frame(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Decode the `latents` from `first_frame` to (videos, 3, height, width), -1 to 1."""
    channels = (1, -1, 1, 1)
    mean, deviation = (_statistic(vae, name, latents).view(channels) for name in ("latents_mean", "latents_std"))
    plain = latents * deviation / getattr(vae.config, "scaling_factor", 1.0) + mean
    moment = {"temb": latents.new_zeros(len(latents))} if getattr(vae.config, "timestep_conditioning", False) else {}
    return vae.decode(plain[:, :, None].to(vae.dtype), **moment, return_dict=False)[0][:, :, 0]  # type: ignore[no-any-return]


def _statistic(vae: Any, name: str, like: torch.Tensor) -> torch.Tensor:
    """A latent statistic of the VAE: in Wan's configuration, among LTX-Video's weights."""
    found = getattr(vae, name, None)
    return torch.as_tensor(getattr(vae.config, name) if found is None else found).to(like)

"""Decodes one small picture from the latents of any family: their layout is read from the latents and from the parts.

Layouts: (pictures, channels, height, width); with frames as (videos, channels, frames, height, width); packed as
(pictures, tokens, channels of a patch), where FLUX and its like have patches of 2 × 2 and LTX-Video all frames in one
row. A family whose layout is none of these has no previews.
"""

from __future__ import annotations

from math import isqrt, log
from typing import Any

import torch
from torch import nn

_PATCH = 2  # sides of a packed patch


def latent_grid(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    """`latents` as (pictures, channels, height, width), of a video the first frame, in the scale of the denoiser. None
    for an unknown layout. `size`: width and height of the result in pixels, or None."""
    return _grid(pipeline, latents, size) if hasattr(decoder(pipeline), "decode") else None


def encoded_grid(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    """The `latent_grid` as the VAE's encoder would have given it."""
    grid = latent_grid(pipeline, latents, size)
    vae: Any = decoder(pipeline)
    if grid is None:
        return None
    return _as_encoded(vae, _without_patches(vae, grid) if hasattr(vae, "bn") else grid)


def decode(pipeline: Any, grid: torch.Tensor) -> torch.Tensor:
    """The pictures of an `encoded_grid`: (pictures, 3, height, width), -1 to 1."""
    vae: Any = decoder(pipeline)
    grid = grid.to(vae.dtype)
    if hasattr(pipeline, "movq"):  # Kandinsky 2
        return vae.decode(grid, force_not_quantize=True)["sample"]  # type: ignore[no-any-return]
    if not decodes_frames(vae):
        return vae.decode(grid, return_dict=False)[0]  # type: ignore[no-any-return]
    moment = {"temb": grid.new_zeros(len(grid))} if getattr(vae.config, "timestep_conditioning", False) else {}
    return vae.decode(grid[:, :, None], **moment, return_dict=False)[0][:, :, 0]  # type: ignore[no-any-return]


def suits(small: Any, pipeline: Any, grid: torch.Tensor) -> bool:
    """Whether a small decoder reads the latents of `pipeline`: those of one picture, as many channels, and not
    normalised channel by channel or in patches, which it knows nothing of."""
    vae: Any = decoder(pipeline)
    normalised = hasattr(vae, "bn") or _statistic(vae, "latents_mean") is not None
    return not normalised and not decodes_frames(vae) and grid.shape[1] == small.config.latent_channels


def decode_small(small: Any, grid: torch.Tensor) -> torch.Tensor:
    """The pictures of a `latent_grid` by diffusers' AutoencoderTiny, which is trained on the denoiser's scale."""
    scaled = grid / small.config.scaling_factor + small.config.shift_factor
    return small.decode(scaled.to(small.dtype), return_dict=False)[0]  # type: ignore[no-any-return]


def decodes_frames(vae: Any) -> bool:
    """Whether a VAE decodes videos: also Qwen-Image's, for pictures."""
    return "temperal_downsample" in vae.config or any(isinstance(module, nn.Conv3d) for module in vae.modules())


def decoder(pipeline: Any) -> Any:
    """The part that makes pictures of latents; None for a family that draws pixels."""
    return getattr(pipeline, "vae", None) or getattr(pipeline, "movq", None)


def _grid(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    if latents.ndim == 4:
        return latents
    if latents.ndim == 5:
        return _first_frame(pipeline, latents)
    if latents.ndim != 3:
        return None
    if hasattr(pipeline, "transformer_temporal_patch_size"):
        return _unpacked_video(pipeline, latents, size)
    return _unpacked(latents, size, 1 if latents.shape[2] == _channels(pipeline) else _PATCH)


def _channels(pipeline: Any) -> int | None:
    """Channels of the decoder's latents."""
    config = decoder(pipeline).config
    found: int | None = config.get("latent_channels") or config.get("z_dim")
    return found


def _first_frame(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    """CogVideoX has frames before channels, Kandinsky 5 channels last."""
    channels = _channels(pipeline)
    if channels is None or latents.shape[1] == channels:
        return latents[:, :, 0]
    return latents[:, 0] if latents.shape[2] == channels else latents[:, 0].permute(0, 3, 1, 2)


def _unpacked(latents: torch.Tensor, size: tuple[int | None, int | None], patch: int) -> torch.Tensor:
    """Patches of `patch` × `patch` as a grid. Its shape follows from the number of tokens: a family may draw another
    size than was asked for."""
    pictures, tokens, depth = latents.shape
    rows, columns = _shape_of(tokens, size)
    grid = latents.reshape(pictures, rows, columns, depth // patch**2, patch, patch)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(pictures, -1, rows * patch, columns * patch)


def _shape_of(tokens: int, size: tuple[int | None, int | None]) -> tuple[int, int]:
    """Rows and columns of `tokens` patches: the factors closest to the aspect ratio of `size`."""
    width, height = size
    aspect = (width or 1) / (height or 1) if width and height else 1.0
    factors = [(tokens // small, small) for small in range(1, isqrt(tokens) + 1) if tokens % small == 0]
    shapes = [shape for pair in factors for shape in (pair, pair[::-1])]
    return min(shapes, key=lambda shape: abs(log(shape[1] / shape[0] / aspect)))


def _unpacked_video(pipeline: Any, latents: torch.Tensor, size: tuple[int | None, int | None]) -> torch.Tensor | None:
    width, height = size
    unpack = getattr(pipeline, "_unpack_latents", None)
    shrinks = getattr(pipeline, "vae_spatial_compression_ratio", None)
    if unpack is None or shrinks is None or width is None or height is None:
        return None
    patch, length = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
    rows, columns = height // shrinks // patch, width // shrinks // patch
    whole: torch.Tensor = unpack(latents, latents.shape[1] // (rows * columns), rows, columns, patch, length)
    return whole[:, :, 0]


def _without_patches(vae: Any, grid: torch.Tensor) -> torch.Tensor:
    """FLUX.2 normalises whole patches of its latents by a batch norm."""
    pictures, channels, height, width = grid.shape
    if channels * _PATCH**2 == vae.bn.num_features:  # unpacked here
        grid = grid.view(pictures, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
        grid = grid.permute(0, 1, 3, 5, 2, 4).reshape(pictures, -1, height // _PATCH, width // _PATCH)
    mean = vae.bn.running_mean.view(1, -1, 1, 1).to(grid)
    deviation = (vae.bn.running_var.view(1, -1, 1, 1).to(grid) + vae.config.batch_norm_eps).sqrt()
    grid = grid * deviation + mean
    pictures, channels, height, width = grid.shape
    grid = grid.view(pictures, channels // _PATCH**2, _PATCH, _PATCH, height, width)
    return grid.permute(0, 1, 4, 2, 5, 3).reshape(pictures, -1, height * _PATCH, width * _PATCH)


def _as_encoded(vae: Any, grid: torch.Tensor) -> torch.Tensor:
    """What the VAE's encoder would have given: the pipelines normalise it by one factor or channel by channel."""
    factor = getattr(vae.config, "scaling_factor", None) or 1.0
    mean, deviation = _statistic(vae, "latents_mean"), _statistic(vae, "latents_std")
    if mean is None or deviation is None:
        return grid / factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    channels = (1, -1, 1, 1)
    return grid * deviation.view(channels).to(grid) / factor + mean.view(channels).to(grid)


def _statistic(vae: Any, name: str) -> torch.Tensor | None:
    """A latent statistic of the VAE: in Wan's configuration, among LTX-Video's weights."""
    found = getattr(vae, name, None)
    found = getattr(vae.config, name, None) if found is None else found
    return None if found is None else torch.as_tensor(found)

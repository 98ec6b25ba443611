"""Enlarges latents between two passes. What the first pass gives its VAE to decode is enlarged, and handed to the
second one in the place of what its VAE would encode: that is the same scale and layout in every family.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from app.core.latent_modes import LatentMode
from app.engines.diffusers.generate.latents import decoder
from app.errors import GenerationError


@dataclass
class Seen:
    """The latents that were decoded last, as the VAE's encoder would give them."""

    latents: list[torch.Tensor] = field(default_factory=list)


@contextmanager
def decoded_latents(pipeline: Any) -> Iterator[Seen]:
    """Note what the VAE of `pipeline` decodes within the block. Raises GenerationError for a model without one."""
    vae, seen = _vae(pipeline), Seen()
    decode = vae.decode

    def watched(latents: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        seen.latents = [latents.detach().clone()]
        return decode(latents, *arguments, **options)

    with _replaced(vae, "decode", watched):
        yield seen


def enlarged_latents(latents: torch.Tensor, size: tuple[int, int], mode: LatentMode) -> torch.Tensor:
    """`latents`, (pictures, channels, …, height, width), at `size` (width, height)."""
    made = torch.nn.functional.interpolate(
        latents.flatten(1, -3).float(),  # of a video's VAE: all frames
        size=(size[1], size[0]),
        mode=mode.mode,
        **({"antialias": True} if mode.antialias else {}),
    ).to(latents.dtype)
    return made.reshape(*latents.shape[:-2], size[1], size[0])


@contextmanager
def encoding_as(pipeline: Any, latents: torch.Tensor) -> Iterator[None]:
    """Have the VAE of `pipeline` encode any picture as `latents` within the block."""
    vae = _vae(pipeline)
    with _replaced(vae, "encode", lambda *_, **__: _Encoded(latents)):
        yield


@dataclass(frozen=True)
class _Encoded:
    """What an encoder returns, with certain latents: nothing is drawn from the generator of random numbers."""

    latents: torch.Tensor

    @property
    def latent_dist(self) -> _Encoded:
        return self

    @property
    def mean(self) -> torch.Tensor:
        return self.latents

    def sample(self, generator: Any = None) -> torch.Tensor:
        return self.latents

    def mode(self) -> torch.Tensor:
        return self.latents

    def __getitem__(self, index: int) -> _Encoded | torch.Tensor:
        return self


def _vae(pipeline: Any) -> Any:
    vae = decoder(pipeline)
    if vae is None or not hasattr(vae, "encode"):
        raise GenerationError("This model has no latents that could be enlarged. Choose another upscaler.")
    return vae


@contextmanager
def _replaced(part: Any, name: str, value: Any) -> Iterator[None]:
    """`part.name` is `value` within the block, then what it was."""
    own = part.__dict__.get(name)
    part.__dict__[name] = value
    try:
        yield
    finally:
        if own is None:
            del part.__dict__[name]
        else:
            part.__dict__[name] = own

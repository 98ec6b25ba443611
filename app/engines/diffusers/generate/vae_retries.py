"""Runs the VAE again within the pipeline's call when it runs out of memory or overflows, so that no step is repeated.

Out of memory: again in tiles, which the VAE then uses until the end of the block. NaN or infinity out of finite
latents: again in float32, for that picture only. The weights are what they were afterwards: other models may share
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from app.engines.diffusers.load.errors import fits_in_memory, log
from app.engines.diffusers.load.offload import can_tile, enable_tiles
from app.engines.diffusers.memory.memory import release

_METHODS = ("encode", "decode")


@dataclass
class VaeRetries:
    """`tiled`: it ran out of memory and works in tiles; `widened`: at least one picture was decoded in float32."""

    tiled: bool = False
    widened: bool = False


@contextmanager
def vae_retries(pipeline: Any, *, widens: bool) -> Iterator[VaeRetries]:
    """Have the VAE of `pipeline` retry within the block. `widens`: also in float32, which needs all of its weights on
    one device while it runs."""
    retries = VaeRetries()
    vae: Any = getattr(pipeline, "vae", None)
    if vae is None:
        yield retries
        return
    before = {name: vars(vae)[name] for name in _METHODS if name in vars(vae)}
    for name in _METHODS:
        if hasattr(vae, name):
            setattr(vae, name, _in_tiles_when_short(vae, getattr(vae, name), retries))
    if widens:
        vae.decode = _wider_when_not_finite(vae, vae.decode, retries)
    try:
        yield retries
    finally:
        for name in _METHODS:
            vars(vae).pop(name, None)
        vars(vae).update(before)
        if retries.tiled:
            vae.disable_tiling()


def _in_tiles_when_short(vae: Any, call: Callable[..., Any], retries: VaeRetries) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        if not can_tile(vae):
            return call(*arguments, **options)
        results: list[Any] = []
        if fits_in_memory(lambda: results.append(call(*arguments, **options))):
            return results[0]
        log.warning("%s: memory ran out; it works in tiles now", type(vae).__name__)
        release()
        enable_tiles(vae)
        retries.tiled = True
        return call(*arguments, **options)

    return run


def _wider_when_not_finite(vae: Any, call: Callable[..., Any], retries: VaeRetries) -> Callable[..., Any]:
    def run(latents: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        result = call(latents, *arguments, **options)
        narrow = vae.dtype.itemsize < torch.float32.itemsize
        if not narrow or bool(torch.isfinite(result[0]).all()) or not bool(torch.isfinite(latents).all()):
            return result
        log.warning("%s overflowed; it decodes this picture in float32", type(vae).__name__)
        del result
        with _in_float32(vae):
            result = call(latents.float(), *arguments, **options)
        retries.widened = True
        return result

    return run


@contextmanager
def _in_float32(vae: torch.nn.Module) -> Iterator[None]:
    """Widen the weights within the block; afterwards they are the very same tensors as before."""
    tensors = [tensor for tensor in (*vae.parameters(), *vae.buffers()) if tensor.is_floating_point()]
    before = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, data in zip(tensors, before, strict=True):
            tensor.data = data

"""What a LoRA adds to each layer, as two small matrices, and adding it while the layer works.

diffusers and peft bring a denoiser's tensors to their layers; then those are taken out again and only the matrices are
kept. They are added by hooks on the base's own layers: cheaper than peft's layers, one addition for several LoRAs, and
nothing at all is left in the model once the hooks are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch.nn import functional

Place = tuple[str, str]  # the part of the pipeline, and the layer's path in it


@dataclass(frozen=True)
class LoraMatrices:
    """The layer's output grows by `up · down · input`; `up` holds the scale that the file states already."""

    down: torch.Tensor
    up: torch.Tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.down, self.up))

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.down).all() and torch.isfinite(self.up).all())


Additions = Mapping[Place, LoraMatrices]


def denoiser_additions(
    pipeline: Any, tensors: Mapping[str, torch.Tensor], alphas: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[Place, LoraMatrices]:
    """What `tensors`, in diffusers' names, add to each layer of `pipeline`, which is as it was when this returns or
    raises. `metadata` is peft's configuration; a file has that, or `alphas`, or neither."""
    adapter = "reading"
    found: dict[Place, LoraMatrices] = {}
    try:
        for name in dict.fromkeys(tensor.partition(".")[0] for tensor in tensors):
            part = getattr(pipeline, name)
            part.load_lora_adapter(
                dict(tensors),
                prefix=name,
                network_alphas=dict(alphas) or None,
                metadata=dict(metadata) if metadata and not alphas else None,
                adapter_name=adapter,
                low_cpu_mem_usage=True,
                _pipeline=pipeline,
            )
            found |= {
                (name, path): _matrices(layer, adapter, part)
                for path, layer in part.named_modules()
                if isinstance(layer, LoraLayer) and adapter in layer.lora_A
            }
    finally:
        pipeline.unload_lora_weights()
    return found


def _matrices(layer: Any, adapter: str, part: Any) -> LoraMatrices:
    dtype = working_dtype(layer.get_base_layer().weight, part)
    down, up = layer.lora_A[adapter].weight.detach(), layer.lora_B[adapter].weight.detach()
    scaled = up.float() * layer.scaling[adapter]
    return LoraMatrices(down.to(dtype).clone(), scaled.to(dtype))


def working_dtype(weight: torch.Tensor, part: Any) -> torch.dtype:
    """The precision that a layer works in: that of `part` when its own weight is only stored in a narrower one."""
    return weight.dtype if weight.dtype.itemsize > 1 else part.dtype


class ActiveLoras:
    """LoRAs switched on in `pipeline`: each with how strongly it works. `take_off` leaves nothing behind."""

    def __init__(self, pipeline: Any, loras: Sequence[tuple[Additions, float]]) -> None:
        by_place: dict[Place, list[tuple[LoraMatrices, float]]] = {}
        for additions, scale in loras:
            for place, matrices in additions.items():
                by_place.setdefault(place, []).append((matrices, scale))
        self._hooks = [
            getattr(pipeline, part).get_submodule(path).register_forward_hook(_Addition(pieces))
            for (part, path), pieces in by_place.items()
        ]

    def take_off(self) -> None:
        for hook in self._hooks:
            hook.remove()


class _Addition:
    """A forward hook. Several LoRAs become one of the sum of their ranks."""

    def __init__(self, pieces: Sequence[tuple[LoraMatrices, float]]) -> None:
        self._down = torch.cat([matrices.down for matrices, _ in pieces])
        self._up = torch.cat([matrices.up * scale for matrices, scale in pieces], dim=1)

    def __call__(self, layer: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        given = arguments[0]
        if self._down.device != given.device:  # the model works elsewhere than its weights wait
            self._down, self._up = self._down.to(given.device), self._up.to(given.device)
        if isinstance(layer, torch.nn.Conv2d):
            small = functional.conv2d(given, self._down, None, layer.stride, layer.padding, layer.dilation)
            return output + functional.conv2d(small, self._up)
        return output + functional.linear(functional.linear(given, self._down), self._up)

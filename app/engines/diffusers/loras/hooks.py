"""A LoRA as two small matrices per layer, and forward hooks that add their product to the layer's output.

diffusers and peft assign a denoiser's tensors to the layers of a skeleton without weights, of which only the matrices
are kept.
Forward hooks on the base's layers are cheaper than peft's layers, need one addition for several LoRAs, and leave
nothing in the model after their removal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch.nn import functional

from app.engines.diffusers.loras.skeleton import skeleton_of

LayerKey = tuple[str, str]  # the pipeline's part, and the layer's path in it


@dataclass(frozen=True)
class LoraMatrices:
    """The layer's output is increased by `up · down · input`; `up` includes the scale stated in the file."""

    down: torch.Tensor
    up: torch.Tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.down, self.up))

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.down).all() and torch.isfinite(self.up).all())


Additions = Mapping[LayerKey, LoraMatrices]


def denoiser_additions(
    pipeline: Any, tensors: Mapping[str, torch.Tensor], alphas: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[LayerKey, LoraMatrices]:
    """The matrices of `tensors`, in diffusers' names, by layer of `pipeline`, which is not touched. `metadata` is
    peft's configuration; a file has that, or `alphas`, or neither."""
    adapter = "reading"
    found: dict[LayerKey, LoraMatrices] = {}
    for name in dict.fromkeys(tensor.partition(".")[0] for tensor in tensors):
        skeleton = skeleton_of(getattr(pipeline, name))
        skeleton.load_lora_adapter(
            dict(tensors),
            prefix=name,
            network_alphas=dict(alphas) or None,
            metadata=dict(metadata) if metadata and not alphas else None,
            adapter_name=adapter,
            low_cpu_mem_usage=True,
        )
        found |= {
            (name, path): _matrices(layer, adapter, _home(getattr(pipeline, name), path))
            for path, layer in skeleton.named_modules()
            if isinstance(layer, LoraLayer) and adapter in layer.lora_A
        }
    return found


def _home(part: torch.nn.Module, path: str) -> torch.device:
    """Where the weights of a layer are; main memory while the layer has none."""
    weight = part.get_submodule(path).weight
    assert isinstance(weight, torch.Tensor)
    return torch.device("cpu") if weight.is_meta else weight.device


def _matrices(layer: Any, adapter: str, device: torch.device) -> LoraMatrices:
    dtype = layer.get_base_layer().weight.dtype
    down, up = layer.lora_A[adapter].weight.detach(), layer.lora_B[adapter].weight.detach()
    scaled = up.float() * layer.scaling[adapter]
    return LoraMatrices(down.to(device, dtype, copy=True), scaled.to(device, dtype))


class ActiveLoras:
    """LoRAs applied to `pipeline` by forward hooks, each with its scale. `remove` removes the hooks."""

    def __init__(self, pipeline: Any, loras: Sequence[tuple[Additions, float]]) -> None:
        by_layer: dict[LayerKey, list[tuple[LoraMatrices, float]]] = {}
        for additions, scale in loras:
            for place, matrices in additions.items():
                by_layer.setdefault(place, []).append((matrices, scale))
        self._hooks = [
            getattr(pipeline, part).get_submodule(path).register_forward_hook(_Addition(pieces))
            for (part, path), pieces in by_layer.items()
        ]

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


class _Addition:
    """Forward hook of a layer. Several LoRAs are concatenated to one with the sum of their ranks."""

    def __init__(self, pieces: Sequence[tuple[LoraMatrices, float]]) -> None:
        self._down = torch.cat([matrices.down for matrices, _ in pieces])
        self._up = torch.cat([matrices.up * scale for matrices, scale in pieces], dim=1)

    def __call__(self, layer: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        given = arguments[0]
        if self._down.device != given.device:  # the layer is offloaded and runs on another device
            self._down, self._up = self._down.to(given.device), self._up.to(given.device)
        if isinstance(layer, torch.nn.Conv2d):
            small = functional.conv2d(given, self._down, None, layer.stride, layer.padding, layer.dilation)
            return output + functional.conv2d(small, self._up)
        return output + functional.linear(functional.linear(given, self._down), self._up)

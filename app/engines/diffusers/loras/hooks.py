"""The adapters of a LoRA's layers, and forward hooks that add what they make of a layer's input to its output.

diffusers and peft assign a denoiser's tensors to the layers of a skeleton without weights, of which only the matrices
are kept.
Forward hooks on the base's layers are cheaper than peft's layers, need one addition for several LoRAs, and leave
nothing in the model after their removal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from app.engines.diffusers.loras.adapters import Adapter, LoraMatrices
from app.engines.diffusers.loras.skeleton import skeleton_of, working_dtype
from app.engines.diffusers.loras.targets import LayerKey, denoisers_of, parts_named

Additions = Mapping[LayerKey, Adapter]


def denoiser_additions(
    pipeline: Any, tensors: Mapping[str, torch.Tensor], alphas: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[LayerKey, Adapter]:
    """The matrices of `tensors`, in diffusers' names, by layer of `pipeline`, which is not touched. `metadata` is
    peft's configuration; a file has that, or `alphas`, or neither."""
    adapter = "reading"
    found: dict[LayerKey, Adapter] = {}
    for name in parts_named(tensors):
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


def with_biases(
    pipeline: Any, additions: Additions, biases: Mapping[LayerKey, torch.Tensor]
) -> dict[LayerKey, Adapter]:
    """The adapters of the layers whose bias grows too, or alone."""
    found: dict[LayerKey, Adapter] = {}
    for key, bias in biases.items():
        rows, columns = getattr(pipeline, key[0]).get_submodule(key[1]).weight.shape[:2]
        if bias.shape != (rows,):
            raise ValueError(f"{key[0]} has {rows} outputs in {key[1]}, and the LoRA's bias is for {bias.numel()}")
        own = additions.get(key) or LoraMatrices(torch.zeros(0, columns), torch.zeros(rows, 0))
        assert isinstance(own, LoraMatrices)
        found[key] = replace(own, bias=bias)
    return found


def for_both_transformers(pipeline: Any, additions: Additions, name: str) -> dict[LayerKey, Adapter]:
    """`additions` for the transformers of a model with two of a kind (Wan 2.2: the first for high noise, the second for
    low). A file whose name says which noise it is for changes that one, another changes both, unless it names them."""
    first, second = "transformer", "transformer_2"
    parts = {part for part, _ in additions}
    if second in parts or first not in parts or second not in denoisers_of(pipeline):
        return dict(additions)
    words = set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    wanted = [part for word, part in (("high", first), ("low", second)) if word in words] or [first, second]
    rest = {key: adapter for key, adapter in additions.items() if key[0] != first}
    return rest | {(part, key[1]): adapter for part in wanted for key, adapter in additions.items() if key[0] == first}


def _home(part: torch.nn.Module, path: str) -> torch.device:
    """Where the weights of a layer are; main memory while the layer has none."""
    weight = part.get_submodule(path).weight
    assert isinstance(weight, torch.Tensor)
    return torch.device("cpu") if weight.is_meta else weight.device


def placed(pipeline: Any, key: LayerKey, adapter: Adapter) -> Adapter:
    """`adapter` in the precision and at the place of its layer."""
    part = getattr(pipeline, key[0])
    weight = part.get_submodule(key[1]).weight
    return adapter.to(working_dtype(weight, part)).to(_home(part, key[1]))


def _matrices(layer: Any, adapter: str, device: torch.device) -> LoraMatrices:
    dtype = layer.get_base_layer().weight.dtype
    down, up = layer.lora_A[adapter].weight.detach(), layer.lora_B[adapter].weight.detach()
    scaled = up.float() * layer.scaling[adapter]
    return LoraMatrices(down.to(device, dtype, copy=True), scaled.to(device, dtype))


class ActiveLoras:
    """LoRAs applied to `pipeline` by forward hooks, each with its scale. `remove` removes the hooks."""

    def __init__(self, pipeline: Any, loras: Sequence[tuple[Additions, float]]) -> None:
        by_layer: dict[LayerKey, list[tuple[Adapter, float]]] = {}
        for additions, scale in loras:
            for place, adapter in additions.items():
                by_layer.setdefault(place, []).append((adapter, scale))
        self._hooks = [
            getattr(pipeline, part).get_submodule(path).register_forward_hook(_Addition(pieces))
            for (part, path), pieces in by_layer.items()
        ]

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


class _Addition:
    """Forward hook of a layer. Several plain LoRAs are concatenated to one with the sum of their ranks."""

    def __init__(self, pieces: Sequence[tuple[Adapter, float]]) -> None:
        plain = [(one, scale) for one, scale in pieces if isinstance(one, LoraMatrices) and one.is_plain]
        self._pieces = [(one, scale) for one, scale in pieces if not (isinstance(one, LoraMatrices) and one.is_plain)]
        if plain:
            down = torch.cat([one.down for one, _ in plain])
            up = torch.cat([one.up * scale for one, scale in plain], dim=1)
            self._pieces.insert(0, (LoraMatrices(down, up), 1.0))

    def __call__(self, layer: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        given = arguments[0]
        if any(one.device != given.device for one, _ in self._pieces):  # an offloaded layer runs on another device
            self._pieces = [(one.to(given.device), scale) for one, scale in self._pieces]
        grown = output
        for one, scale in self._pieces:
            grown = grown + one.output(layer, given, output, scale)
        return grown

"""Other layouts of weights: query, key and value as one matrix, and the VAE's convolutions channels-last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_processor import Attention
from torch import nn

_IMAGE_WEIGHT_DIMENSIONS = 4  # of a convolution over two directions; videos have three


def fusable(denoisers: Sequence[nn.Module]) -> list[Any]:
    """Those denoisers whose query, key and value can be fused without changing what they compute: the fused processors
    of diffusers' older attention class leave the normalisation of query and key out (SD 3.5 has one)."""
    able = (part for part in denoisers if hasattr(part, "fuse_qkv_projections"))
    return [part for part in able if _attentions(part) and not any(map(_loses_norms, _attentions(part)))]


def _loses_norms(attention: Any) -> bool:
    return isinstance(attention, Attention) and (attention.norm_q is not None or attention.norm_k is not None)


def fuse(denoisers: Sequence[Any]) -> None:
    for part in denoisers:
        part.fuse_qkv_projections()


@contextmanager
def separate(denoisers: Sequence[nn.Module], wanted: bool) -> Iterator[None]:
    """Compute query, key and value separately within the block, if `wanted`. The separate weights are still there, and
    a LoRA changes those: of fused ones nothing of it would be seen."""
    fused = [each for part in denoisers for each in _attentions(part) if each.fused_projections] if wanted else []
    originals = {layer: processor for part in denoisers for layer, processor in _originals(part)} if wanted else {}
    processors = {layer: layer.processor for layer in originals}
    try:
        for attention in fused:
            attention.fused_projections = False
        for layer, processor in originals.items():
            layer.processor = processor
        yield
    finally:
        for attention in fused:
            attention.fused_projections = True
        for layer, processor in processors.items():
            layer.processor = processor


def _originals(part: nn.Module) -> Iterator[tuple[Any, Any]]:
    """The layers for which fusing chose another processor, each with the one it had."""
    before = getattr(part, "original_attn_processors", None) or {}
    for name, layer in part.named_modules():
        if f"{name}.processor" in before:
            yield layer, before[f"{name}.processor"]


def can_be_channels_last(vae: Any) -> bool:
    """Whether `vae` is one of pictures, whose convolutions have two directions."""
    if not isinstance(vae, nn.Module):
        return False
    dimensions = {parameter.dim() for parameter in vae.parameters()}
    return _IMAGE_WEIGHT_DIMENSIONS in dimensions and max(dimensions) == _IMAGE_WEIGHT_DIMENSIONS


def make_channels_last(vae: nn.Module) -> None:
    for parameter in vae.parameters():
        if parameter.dim() == _IMAGE_WEIGHT_DIMENSIONS:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _attentions(part: nn.Module) -> list[Any]:
    """Its attention layers that can be fused."""
    return [
        module
        for module in part.modules()
        if isinstance(module, Attention | AttentionModuleMixin) and getattr(module, "_supports_qkv_fusion", True)
    ]

"""Stable Diffusion 1.5 in one file, with the names that the original latent-diffusion code gave its tensors.

The inverse of what diffusers does in `from_single_file`. It knows the block layout of SD 1.5's family only.
"""

from __future__ import annotations

import re

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING

Tensors = dict[str, torch.Tensor]

_UNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_PARTS = {
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def ldm_state(pipeline: StableDiffusionPipeline) -> Tensors:
    """All weights of `pipeline` under their original names, as contiguous tensors."""
    depth = pipeline.unet.config.layers_per_block
    with_attention = [kind.startswith("CrossAttn") for kind in pipeline.unet.config.up_block_types]
    state: Tensors = {}
    for name, tensor in pipeline.unet.state_dict().items():
        state["model.diffusion_model." + unet_name(name, depth, with_attention)] = tensor
    for name, tensor in pipeline.vae.state_dict().items():
        was_convolution = "attentions" in name and name.endswith("weight") and tensor.ndim == 2
        kept = tensor[:, :, None, None] if was_convolution else tensor
        state["first_stage_model." + _vae_name(name, len(pipeline.vae.config.up_block_types))] = kept
    for name, tensor in pipeline.text_encoder.state_dict().items():
        state["cond_stage_model.transformer.text_model." + name.removeprefix("text_model.")] = tensor
    return {name: tensor.contiguous() for name, tensor in state.items()}


def unet_name(name: str, depth: int, with_attention: list[bool]) -> str:
    """A UNet's blocks were one flat list down, three in the middle, and one flat list up."""
    plain = DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"].get(name)
    if plain is not None:
        return plain
    if name.startswith("mid_block"):
        _, kind, number, rest = name.split(".", 3)
        index = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{index}." + (rest if kind == "attentions" else _rename(rest, _UNET_PARTS))
    side, block, kind, layer, rest = name.split(".", 4)
    first = int(block) * (depth + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + depth + 1}.0.op." + rest.removeprefix("conv.")
    if kind == "upsamplers":
        return f"output_blocks.{first + depth}.{2 if with_attention[int(block)] else 1}.{rest}"
    index = first + int(layer)
    position = f"input_blocks.{index + 1}" if side == "down_blocks" else f"output_blocks.{index}"
    return f"{position}.0." + _rename(rest, _UNET_PARTS) if kind == "resnets" else f"{position}.1.{rest}"


def _vae_name(name: str, blocks: int) -> str:
    """A VAE's up blocks were numbered from the picture's side, and its middle had names instead of numbers."""
    plain = DIFFUSERS_TO_LDM_MAPPING["vae"].get(name)
    if plain is not None:
        return plain
    name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{blocks - 1 - int(found[1])}", name)
    name = name.replace("down_blocks.", "down.").replace("samplers.0.", "sample.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("resnets.", "block.")
    return _rename(name, _VAE_PARTS)


def _rename(name: str, parts: dict[str, str]) -> str:
    for new, old in parts.items():
        name = name.replace(new, old)
    return name

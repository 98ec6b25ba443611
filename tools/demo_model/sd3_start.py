"""Starts the SD 3 transformer from the trained FLUX one, so that it need not learn colours, shapes and words anew.

Both are joint transformers of one width. FLUX's double blocks are SD 3's blocks but for the rotary positions; a single
block becomes one whose two streams begin alike and whose feed-forward follows the attention instead of running beside
it. What positions meant is lost and learnt again. Sources: diffusers' `transformer_flux.py` and `transformer_sd3.py`.
"""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from torch import Tensor, nn

LEARNT_GUIDANCE = 1.0  # what the transformer saw while it learnt the velocity itself


@torch.no_grad()
def carry_over(flux: FluxTransformer2DModel, model: SD3Transformer2DModel, pooled: tuple[Tensor, Tensor]) -> None:
    """Fill `model` with what `flux` knows. `pooled` are the same captions' vectors as `model` will see them (n, d, two
    equal halves) and as `flux` saw them (n, d)."""
    carry_ends(flux, model)
    carry_conditioning(flux.time_text_embed, model.time_text_embed, *pooled)
    doubles = len(flux.transformer_blocks)
    for block, source in zip(model.transformer_blocks, flux.transformer_blocks, strict=False):
        block.load_state_dict(source.state_dict())
    for block, source in zip(model.transformer_blocks[doubles:], flux.single_transformer_blocks, strict=True):
        carry_single(source, block)


def carry_ends(flux: FluxTransformer2DModel, model: SD3Transformer2DModel) -> None:
    """The first and last layers; FLUX orders the numbers of a patch channel first, SD 3's output channel last."""
    model.context_embedder.load_state_dict(flux.context_embedder.state_dict())
    model.norm_out.load_state_dict(flux.norm_out.state_dict())
    patches = model.pos_embed.proj
    patches.weight.copy_(flux.x_embedder.weight.view_as(patches.weight))
    patches.bias.copy_(flux.x_embedder.bias)
    channels, side = patches.weight.shape[1], patches.weight.shape[2]
    for name in ("weight", "bias"):
        rows = getattr(flux.proj_out, name)
        ordered = rows.view(channels, side, side, -1).permute(1, 2, 0, 3)
        getattr(model.proj_out, name).copy_(ordered.reshape(rows.shape))


def carry_conditioning(flux: nn.Module, model: nn.Module, halves: Tensor, pooled: Tensor) -> None:
    """The embeddings of time and prompt: a fixed guidance joins the time's bias, and the other CLIP's vector is mapped
    by least squares to the one that FLUX knows."""
    model.timestep_embedder.load_state_dict(flux.timestep_embedder.state_dict())
    level = flux.time_proj(torch.tensor([1000 * LEARNT_GUIDANCE]))
    model.timestep_embedder.linear_2.bias += flux.guidance_embedder(level)[0]
    half = halves[:, : halves.shape[1] // 2]
    mapping = torch.linalg.lstsq(torch.cat([half, torch.ones(len(half), 1)], dim=1), pooled).solution
    first = flux.text_embedder.linear_1
    weight = first.weight @ mapping[:-1].T / 2
    model.text_embedder.load_state_dict(flux.text_embedder.state_dict())
    model.text_embedder.linear_1.weight.copy_(torch.cat([weight, weight], dim=1))
    model.text_embedder.linear_1.bias += first.weight @ mapping[-1]


def carry_single(source: nn.Module, block: nn.Module) -> None:
    """A FLUX single block into an SD 3 block, the same weights for the picture and the words."""
    width = source.attn.to_q.weight.shape[0]
    for name in "qkv":
        state = getattr(source.attn, f"to_{name}").state_dict()
        getattr(block.attn, f"to_{name}").load_state_dict(state)
        getattr(block.attn, f"add_{name}_proj").load_state_dict(state)
    for name in "qk":
        state = getattr(source.attn, f"norm_{name}").state_dict()
        getattr(block.attn, f"norm_{name}").load_state_dict(state)
        getattr(block.attn, f"norm_added_{name}").load_state_dict(state)
    shift, scale, gate = range(3)
    carry_modulation(source.norm.linear, block.norm1.linear, (shift, scale, gate, shift, scale, gate))
    carry_output(source, block.attn.to_out[0], block.ff, width)
    if block.context_pre_only:
        carry_modulation(source.norm.linear, block.norm1_context.linear, (scale, shift))
    else:
        carry_modulation(source.norm.linear, block.norm1_context.linear, (shift, scale, gate, shift, scale, gate))
        carry_output(source, block.attn.to_add_out, block.ff_context, width)


def carry_modulation(source: nn.Linear, target: nn.Linear, order: tuple[int, ...]) -> None:
    """The thirds of `source` (shift, scale, gate) in the order that `target` wants them."""
    for name in ("weight", "bias"):
        thirds = getattr(source, name).chunk(3)
        getattr(target, name).copy_(torch.cat([thirds[k] for k in order]))


def carry_output(source: nn.Module, attention: nn.Linear, feed_forward: nn.Module, width: int) -> None:
    """A single block has one output layer for attention and feed-forward together; here each gets its part."""
    attention.weight.copy_(source.proj_out.weight[:, :width])
    attention.bias.copy_(source.proj_out.bias)
    feed_forward.net[0].proj.load_state_dict(source.proj_mlp.state_dict())
    feed_forward.net[2].weight.copy_(source.proj_out.weight[:, width:])
    feed_forward.net[2].bias.zero_()

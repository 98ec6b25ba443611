"""The FLUX transformer at demo size, and the attention used to train it.

Padding in training costs one token: text tokens carry no position in FLUX, and padding positions all hold the same
vector (see `text`), so n of them act exactly as one whose attention logit is raised by log n.
"""

from __future__ import annotations

import math

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from tools.demo_model.text import WIDTH
from tools.demo_model.vae import LATENT_CHANNELS

HEADS, HEAD_WIDTH = 3, 64
DOUBLE_BLOCKS, SINGLE_BLOCKS = 2, 4
ROTARY_AXES = (8, 28, 28)
MASKED = -1e4


def build() -> FluxTransformer2DModel:
    """An untrained transformer whose blocks start as the identity."""
    model = FluxTransformer2DModel(
        patch_size=1, in_channels=4 * LATENT_CHANNELS, num_layers=DOUBLE_BLOCKS, num_single_layers=SINGLE_BLOCKS,
        attention_head_dim=HEAD_WIDTH, num_attention_heads=HEADS, joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH, guidance_embeds=True, axes_dims_rope=ROTARY_AXES,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if (".norm" in name and ".linear." in name) or name.startswith(("proj_out", "norm_out.linear")):
            nn.init.zeros_(parameter)
    model.set_attn_processor(BiasedAttention())
    return model


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(matrices inside blocks, for Muon; the rest, modulation layers included, for AdamW)."""
    named = list(model.named_parameters())
    inner = [p for n, p in named if p.ndim == 2 and "blocks." in n and ".norm" not in n]
    chosen = {id(p) for p in inner}
    return inner, [p for _, p in named if id(p) not in chosen]


class BiasedAttention:
    """FLUX attention as matmul, softmax, matmul, with a bias for each key.

    The same mathematics as diffusers' `FluxAttnProcessor` (source: transformer_flux.py, 0.42); on a CPU, compiled, it
    trains twice as fast as the fused kernel, and it takes the padding bias.
    """

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        key_bias: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """hidden_states (n, tokens, d), key_bias (n, 1, 1, keys) added to the logits, text keys first."""
        del attention_mask
        shape = (attn.heads, -1)
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, shape))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, shape))
        value = attn.to_v(hidden_states).unflatten(-1, shape)
        joint = attn.added_kv_proj_dim is not None
        if joint:
            assert encoder_hidden_states is not None
            text_query = attn.norm_added_q(attn.add_q_proj(encoder_hidden_states).unflatten(-1, shape))
            text_key = attn.norm_added_k(attn.add_k_proj(encoder_hidden_states).unflatten(-1, shape))
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(-1, shape)
            query = torch.cat([text_query, query], dim=1)
            key = torch.cat([text_key, key], dim=1)
            value = torch.cat([text_value, value], dim=1)
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        logits = query.to(value.dtype) @ key.to(value.dtype).transpose(-1, -2) / math.sqrt(query.shape[-1])
        if key_bias is not None:
            logits = logits + key_bias
        mixed = (logits.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        if not joint:
            return mixed
        length = encoder_hidden_states.shape[1]  # type: ignore[union-attr]
        text, image = mixed[:, :length], mixed[:, length:]
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(text)


def image_ids(rows: int, columns: int) -> Tensor:
    """Position ids (rows·columns, 3) as FluxPipeline makes them."""
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    return torch.stack([torch.zeros_like(y), y, x], dim=-1).reshape(-1, 3)


def pack(latents: Tensor) -> Tensor:
    """(n, c, h, w) → (n, h/2·w/2, 4c), as FluxPipeline packs."""
    n, c, h, w = latents.shape
    return latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, (h // 2) * (w // 2), 4 * c)


def padding_bias(lengths: Tensor, padding: Tensor, text_length: int, image_length: int) -> Tensor:
    """Bias (n, 1, 1, text_length + image_length) for captions of `lengths` real tokens followed by `padding` pads.

    The first position after a caption stands for all its padding (log of the count, or nothing); the rest is masked.
    """
    columns = torch.arange(text_length + image_length, device=lengths.device)[None]
    bias = torch.zeros(lengths.shape[0], text_length + image_length, device=lengths.device)
    text = columns < text_length
    one = torch.where(
        padding > 0, padding.clamp(min=1).float().log(), torch.full_like(padding, MASKED, dtype=torch.float)
    )
    bias = torch.where(text & (columns == lengths[:, None]), one[:, None], bias)
    bias = torch.where(text & (columns > lengths[:, None]), torch.full_like(bias, MASKED), bias)
    return bias[:, None, None]

"""FLUX.1-dev and Stable Diffusion 3.5 Large at their full size, with random weights, made on the device.

Speed and memory depend on shapes, not on what was learned, so nothing has to be downloaded. The numbers are those of
the published configurations. Tokenizers are tiny: how a prompt is cut into tokens costs nothing either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from tools.tiny_models import flow_families
from tools.tiny_models.tokens import clip_tokenizer, t5_tokenizer

WEIGHT_SPREAD = 0.02  # small enough that fifty layers stay finite


def build(family: str, device: torch.device, dtype: torch.dtype, *, tiny: bool = False) -> Any:
    """The pipeline of `family` (flux or sd35) on `device`. `tiny` returns the small checkpoint of the tests instead."""
    if tiny:
        small: Callable[[], Any] = {"flux": flow_families.flux, "sd35": flow_families.sd35}[family]
        return small().to(device, dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            pipeline = {"flux": _flux, "sd35": _sd35}[family]()
    finally:
        torch.set_default_dtype(before)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            _fill(part.eval())
    return pipeline


def _flux() -> FluxPipeline:
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=CLIPTextModel(_clip(clip, 768, 12, 12)),
        tokenizer=clip,
        text_encoder_2=_t5(),
        tokenizer_2=t5,
        transformer=FluxTransformer2DModel(guidance_embeds=True),  # its defaults are those of FLUX.1
    )


def _sd35() -> StableDiffusion3Pipeline:
    clip, clip_2, t5 = clip_tokenizer(), clip_tokenizer(pad_token="!"), t5_tokenizer()
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=CLIPTextModelWithProjection(_clip(clip, 768, 12, 12)),
        tokenizer=clip,
        text_encoder_2=CLIPTextModelWithProjection(_clip(clip_2, 1280, 32, 20)),
        tokenizer_2=clip_2,
        text_encoder_3=_t5(),
        tokenizer_3=t5,
        transformer=SD3Transformer2DModel(
            sample_size=128,
            num_layers=38,
            num_attention_heads=38,
            attention_head_dim=64,
            joint_attention_dim=4096,
            caption_projection_dim=2432,
            pooled_projection_dim=2048,
            pos_embed_max_size=192,
            qk_norm="rms_norm",
        ),
    )


def _autoencoder(scaling_factor: float, shift_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=16,
        sample_size=1024,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _clip(tokenizer: Any, width: int, layers: int, heads: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _t5() -> T5EncoderModel:
    config = T5Config(
        d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu"
    )  # T5 1.1 XXL
    return T5EncoderModel(config)


@torch.no_grad()
def _fill(part: torch.nn.Module) -> None:
    """Fill matrices with small random numbers; norms and biases keep their initial values."""
    for parameter in part.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, WEIGHT_SPREAD)

"""Tiny text encoders and VAEs, shared by the families. All take their weights from torch's current seed."""

from __future__ import annotations

from diffusers import AutoencoderKL
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CLIP_WIDTH = 32


def _clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLIP_WIDTH,
        intermediate_size=2 * CLIP_WIDTH,
        projection_dim=CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def clip_text_model(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(_clip_config(tokenizer)).eval()


def clip_text_model_with_projection(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(_clip_config(tokenizer)).eval()


def t5_encoder(tokenizer: T5Tokenizer, width: int) -> T5EncoderModel:
    """A T5 encoder of 2 layers whose hidden states are `width` wide."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_ff=2 * width,
        d_kv=width // 4,
        num_heads=4,
        num_layers=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config).eval()


def autoencoder(latent_channels: int, *, flow: bool) -> AutoencoderKL:
    """A VAE that halves the picture three times. `flow` VAEs (FLUX, SD 3) shift latents and have no quant layers."""
    kind = (
        {"shift_factor": 0.0609, "scaling_factor": 1.5035, "use_quant_conv": False, "use_post_quant_conv": False}
        if flow
        else {"scaling_factor": 0.18215}
    )
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=latent_channels,
        sample_size=64,
        **kind,
    ).eval()

"""The families with a UNet: Stable Diffusion 1.5, its consistency models, and SDXL."""

from __future__ import annotations

from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tools.tiny_models.encoders import (
    CLIP_WIDTH,
    autoencoder,
    clip_text_model,
    clip_text_model_with_projection,
)
from tools.tiny_models.tokens import clip_tokenizer

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def sd15() -> DiffusionPipeline:
    """Stable Diffusion 1.5, without its safety checker (that is a component of its own)."""
    clip = clip_tokenizer()
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CLIP_WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return StableDiffusionPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=clip_text_model(clip),
        tokenizer=clip,
        unet=unet.eval(),
        scheduler=DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def lcm() -> DiffusionPipeline:
    """A latent consistency model: Stable Diffusion 1.5 whose UNet is told the guidance, for a few large steps."""
    clip = clip_tokenizer()
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CLIP_WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        time_cond_proj_dim=32,
    )
    return LatentConsistencyModelPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=clip_text_model(clip),
        tokenizer=clip,
        unet=unet.eval(),
        scheduler=LCMScheduler(**{**_BETAS, "steps_offset": 0}, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> DiffusionPipeline:
    """SDXL base: two text encoders side by side, and the picture's size and crop as further conditions."""
    clip, clip_2 = clip_tokenizer(), clip_tokenizer(pad_token="!")
    time_width = 8
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=time_width,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=CLIP_WIDTH + 6 * time_width,
        cross_attention_dim=2 * CLIP_WIDTH,
        norm_num_groups=4,
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=clip_text_model(clip),
        tokenizer=clip,
        text_encoder_2=clip_text_model_with_projection(clip_2),
        tokenizer_2=clip_2,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(**_BETAS, timestep_spacing="leading"),
    )

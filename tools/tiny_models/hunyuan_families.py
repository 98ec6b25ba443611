"""Tencent's families: HunyuanVideo."""

from __future__ import annotations

from diffusers import (
    AutoencoderKLHunyuanVideo,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)

from tools.tiny_models.encoders import CLIP_WIDTH, clip_text_model
from tools.tiny_models.language_models import WIDTH, llama
from tools.tiny_models.sample import VIDEO_WORDS, Sample
from tools.tiny_models.tokens import clip_tokenizer, llama_tokenizer

_LATENTS = 4


def hunyuan_video() -> DiffusionPipeline:
    """HunyuanVideo: a layer of Llama for the sequence, CLIP for the pooled vector, guidance embedded."""
    tokenizer, clip = llama_tokenizer(), clip_tokenizer()
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=2,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    return HunyuanVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=hunyuan_vae(),
        text_encoder=llama(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=clip_text_model(clip),
        tokenizer_2=clip,
        transformer=transformer.eval(),
    )


def hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    """The VAE of HunyuanVideo, and of Kandinsky 5's videos: it shrinks pixels by 8 and frames by 4."""
    return AutoencoderKLHunyuanVideo(
        latent_channels=_LATENTS,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4,) * 4,
        layers_per_block=1,
        norm_num_groups=2,
    ).eval()


SAMPLES = {
    "hunyuan-video": Sample(hunyuan_video, "HunyuanVideoPipeline", VIDEO_WORDS, frames=5, output="frames"),
}

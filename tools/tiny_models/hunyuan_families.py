"""Tencent's families: HunyuanVideo, HunyuanVideo 1.5 and HunyuanImage."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanImage,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from transformers import ByT5Tokenizer, SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from tools.tiny_models.encoders import CLIP_WIDTH, clip_text_model, t5_encoder
from tools.tiny_models.language_models import WIDTH, llama, qwen25_vl
from tools.tiny_models.sample import VIDEO_WORDS, Input, Sample
from tools.tiny_models.tokens import clip_tokenizer, llama_tokenizer, qwen_tokenizer

_LATENTS = 4
_LETTERS_WIDTH = 16
_SIGHT_WIDTH = 16


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


def hunyuan_image() -> DiffusionPipeline:
    """HunyuanImage 2.1, distilled: guidance embedded, and ByT5 for the letters to be drawn."""
    tokenizer = qwen_tokenizer()
    transformer = HunyuanImageTransformer2DModel(
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        guidance_embeds=True,
        text_embed_dim=WIDTH,
        text_embed_2_dim=_LETTERS_WIDTH,
        rope_axes_dim=(4, 4),
    )
    vae = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=_LATENTS,
        block_out_channels=(32, 32, 32, 32),  # its norms have 32 groups
        layers_per_block=1,
        scaling_factor=0.75289,
        spatial_compression_ratio=8,
        sample_size=64,
    )
    return HunyuanImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        vae=vae.eval(),
        text_encoder=qwen25_vl(tokenizer, layers=3),
        tokenizer=tokenizer,
        **_letters(),
        transformer=transformer.eval(),
    )


def hunyuan_video_15() -> DiffusionPipeline:
    """HunyuanVideo 1.5, from words; guided by a component instead of an argument."""
    return HunyuanVideo15Pipeline(**_video_15_parts("t2v"))


def hunyuan_video_15_from_a_picture() -> DiffusionPipeline:
    """HunyuanVideo 1.5, from a first frame, which SigLIP looks at and the VAE encodes."""
    sight = SiglipVisionConfig(
        hidden_size=_SIGHT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return HunyuanVideo15ImageToVideoPipeline(
        **_video_15_parts("i2v"),
        image_encoder=SiglipVisionModel(sight).eval(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    )


def _video_15_parts(task: str) -> dict[str, Any]:
    tokenizer = qwen_tokenizer()
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=2 * _LATENTS + 1,
        out_channels=_LATENTS,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=WIDTH,
        text_embed_2_dim=_LETTERS_WIDTH,
        image_embed_dim=_SIGHT_WIDTH,
        rope_axes_dim=(2, 2, 4),
        target_size=32,
        task_type=task,
    )
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=_LATENTS,
        block_out_channels=(8, 8, 8, 8, 8),
        layers_per_block=1,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    return {
        "text_encoder": qwen25_vl(tokenizer, layers=3).model.language_model,
        "tokenizer": tokenizer,
        **_letters(),
        "transformer": transformer.eval(),
        "vae": vae.eval(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
    }


def _letters() -> dict[str, Any]:
    """ByT5, which reads the quoted parts of a prompt byte by byte."""
    tokenizer = ByT5Tokenizer()
    return {"text_encoder_2": t5_encoder(tokenizer, _LETTERS_WIDTH), "tokenizer_2": tokenizer}


SAMPLES = {
    "hunyuan-image": Sample(hunyuan_image, "HunyuanImagePipeline", {"txt2img": {"distilled_guidance_scale": 3.25}}),
    "hunyuan-video-15": Sample(hunyuan_video_15, "HunyuanVideo15Pipeline", VIDEO_WORDS, frames=5),
    "hunyuan-video-15-i2v": Sample(
        hunyuan_video_15_from_a_picture,
        "HunyuanVideo15ImageToVideoPipeline",
        {"img2video": {"image": Input.PICTURE}},
        always={"width": None, "height": None},
        frames=5,
    ),
    "hunyuan-video": Sample(hunyuan_video, "HunyuanVideoPipeline", VIDEO_WORDS, frames=5),
}

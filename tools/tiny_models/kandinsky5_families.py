"""Kandinsky 5: pictures and videos, with Qwen2.5-VL's processor as tokenizer."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Kandinsky5I2VPipeline,
    Kandinsky5T2IPipeline,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
)

from tools.tiny_models.encoders import CLIP_WIDTH, autoencoder, clip_text_model
from tools.tiny_models.hunyuan_families import hunyuan_vae
from tools.tiny_models.language_models import WIDTH, qwen25_vl
from tools.tiny_models.processors import qwen25_vl_processor
from tools.tiny_models.sample import VIDEO_WORDS, Input, Sample
from tools.tiny_models.tokens import clip_tokenizer, qwen_tokenizer

_LATENTS = 4


def kandinsky5_image() -> DiffusionPipeline:
    """Kandinsky 5 for pictures, whose latents are a video of one frame; it draws in sizes about a megapixel only."""
    return Kandinsky5T2IPipeline(**_parts(), vae=autoencoder(_LATENTS, flow=True))


def kandinsky5_video() -> DiffusionPipeline:
    """Kandinsky 5 for videos from words."""
    return Kandinsky5T2VPipeline(**_parts(), vae=hunyuan_vae())


def kandinsky5_from_a_picture() -> DiffusionPipeline:
    """Kandinsky 5 for videos from a first frame, which is concatenated to the latents with its mask."""
    return Kandinsky5I2VPipeline(**_parts(visual_cond=True), vae=hunyuan_vae())


def _parts(**transformer_options: Any) -> dict[str, Any]:
    tokenizer, clip = qwen_tokenizer(), clip_tokenizer()
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=_LATENTS,
        in_text_dim=WIDTH,
        in_text_dim2=CLIP_WIDTH,
        time_dim=16,
        out_visual_dim=_LATENTS,
        model_dim=24,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 4, 4),
        **transformer_options,
    )
    return {
        "transformer": transformer.eval(),
        "text_encoder": qwen25_vl(tokenizer),
        "tokenizer": qwen25_vl_processor(tokenizer),
        "text_encoder_2": clip_text_model(clip),
        "tokenizer_2": clip,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
    }


SAMPLES = {
    "kandinsky5": Sample(
        kandinsky5_image,
        "Kandinsky5T2IPipeline",
        width=64,
        height=64,
    ),
    "kandinsky5-video": Sample(kandinsky5_video, "Kandinsky5T2VPipeline", VIDEO_WORDS, frames=5),
    "kandinsky5-i2v": Sample(
        kandinsky5_from_a_picture,
        "Kandinsky5I2VPipeline",
        {"img2video": {"image": Input.PICTURE}},
        frames=17,  # the statistics of the frames after the first are matched to it
    ),
}

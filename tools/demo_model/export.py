"""Writes the trained parts as plain diffusers folders: fp16 safetensors, a scheduler, demo.json."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

SHIFT = 1.6  # spends more of the steps at high noise, where the layout is decided
MAX_SEQUENCE_LENGTH = 64
STEPS = {"min": 4, "max": 50, "default": 20}
GUIDANCE = {"min": 1.0, "max": 5.0, "default": 2.5}  # more blurs neighbouring colours, less the outlines
SIZES = {"1:1": [256, 256], "3:2": [288, 192], "2:3": [192, 288]}
CAN_DRAW = (
    "Flat-style scenes (sunset, sunrise, day or night; sun, moon, stars, clouds; mountains, hills, sea, beach, desert, "
    "snow, meadow; trees, pines, cacti, houses, sailboats) and one or two coloured shapes (circle, square, triangle, "
    "star, heart, diamond, ring, cross) on a coloured background."
)
EXAMPLE_PROMPTS = [
    "a beautiful sunset over mountains",
    "a night sky with stars over the sea",
    "a red circle on a blue background",
    "a green tree beside a house under a cloudy sky",
    "a sailboat on the ocean at sunset",
    "a yellow star on a purple background",
    "a pine forest in snow under a bright sun",
    "a full moon over snowy mountains",
]


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Euler steps with a constant shift."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT, use_dynamic_shifting=False)


def describe(name: str, pipeline: str, words: str) -> dict:
    """What an application needs to offer the model, as demo.json; `words` is the part with T5's tokenizer."""
    return {
        "name": name,
        "pipeline": pipeline,
        "native_size": SIZES["1:1"],
        "aspect_sizes": SIZES,
        "max_sequence_length": MAX_SEQUENCE_LENGTH,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "unknown_token_id": 2,
        "unknown_words_tokenizer": f"{words}/tokenizer.json",
        "can_draw": CAN_DRAW,
        "example_prompts": EXAMPLE_PROMPTS,
    }


def flux_pipeline(
    vae: AutoencoderKL,
    t5: T5EncoderModel,
    clip: CLIPTextModel,
    transformer: FluxTransformer2DModel,
    tokenizers: Path,
) -> FluxPipeline:
    """The pipeline from its parts; the tokenizers come from their folders in `tokenizers`."""
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0, force_upcast=False, sample_size=256)
    transformer.set_attn_processor(FluxAttnProcessor())
    return FluxPipeline(
        scheduler=scheduler(),
        vae=vae,
        text_encoder=clip,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizers / "tokenizer"),
        text_encoder_2=t5,
        tokenizer_2=T5Tokenizer.from_pretrained(tokenizers / "tokenizer_2"),
        transformer=transformer,
    )


def export(pipeline: DiffusionPipeline, folder: Path, description: dict) -> None:
    """Save `pipeline` as fp16 with its description; the model card is kept by hand in the same folder."""
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for config in folder.glob("text_encoder*/config.json"):
        _declare_float32(config)
    (folder / "demo.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def _declare_float32(config: Path) -> None:
    """transformers loads in the precision that the config names, diffusers in float32: without this a plain
    `from_pretrained(folder)` would mix the two."""
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def megabytes(folder: Path) -> float:
    """The size of everything under `folder` in MB (10⁶ bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

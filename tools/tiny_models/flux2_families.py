"""FLUX.2: dev with Mistral Small 3, klein with Qwen3. Both take several pictures, whose latents follow those drawn."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLFlux2,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import Qwen3ForCausalLM

from tools.tiny_models.language_models import WIDTH, mistral3, qwen3
from tools.tiny_models.processors import pixtral_processor
from tools.tiny_models.sample import Input, Sample
from tools.tiny_models.tokens import mistral_tokenizer, qwen_tokenizer

_LATENTS = 4
_TAPS = 3  # layers of the text encoder, side by side
_DEV_LAYERS, _KLEIN_LAYERS = 30, 27  # the pipelines read layers by fixed numbers, up to these


def flux2_dev() -> DiffusionPipeline:
    """FLUX.2-dev: guidance embedded, and a processor of words and pictures as tokenizer."""
    tokenizer = mistral_tokenizer()
    return Flux2Pipeline(
        **_parts(guidance_embeds=True),
        text_encoder=mistral3(tokenizer, _DEV_LAYERS),
        tokenizer=pixtral_processor(tokenizer),
    )


def flux2_klein() -> DiffusionPipeline:
    """FLUX.2-klein, distilled for 4 steps without guidance; also inpaints, by a pipeline class of its own."""
    tokenizer = qwen_tokenizer()
    return Flux2KleinPipeline(
        **_parts(guidance_embeds=False),
        text_encoder=qwen3(Qwen3ForCausalLM, tokenizer, _KLEIN_LAYERS),
        tokenizer=tokenizer,
        is_distilled=True,
    )


def _parts(*, guidance_embeds: bool) -> dict[str, Any]:
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4 * _LATENTS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_TAPS * WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=_LATENTS,
        norm_num_groups=2,
        sample_size=64,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        "vae": vae.eval(),
        "transformer": transformer.eval(),
    }


_TASKS = {"txt2img": {}, "edit": {"image": Input.PICTURES}}
SAMPLES = {
    "flux2-dev": Sample(flux2_dev, "Flux2Pipeline", _TASKS, width=64, height=64),
    "flux2-klein": Sample(
        flux2_klein,
        "Flux2KleinPipeline",
        {**_TASKS, "inpaint": {"image": Input.PICTURE, "mask_image": Input.MASK}},
        classes={"inpaint": "Flux2KleinInpaintPipeline"},
        width=64,
        height=64,
    ),
}

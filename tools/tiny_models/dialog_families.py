"""Image families with a language model of dialogues as text encoder, besides Qwen-Image's own."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLFlux2,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    DiffusionPipeline,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
)
from transformers import GlmConfig, GlmModel, LlamaForCausalLM, Qwen3Model

from tools.tiny_models.encoders import CLIP_WIDTH, autoencoder, clip_text_model_with_projection, t5_encoder
from tools.tiny_models.language_models import WIDTH, gemma2, llama, mistral3, qwen3, qwen25_vl
from tools.tiny_models.processors import qwen25_vl_processor
from tools.tiny_models.sample import Sample
from tools.tiny_models.tokens import (
    clip_tokenizer,
    gemma_tokenizer,
    glm_tokenizer,
    llama_tokenizer,
    mistral_tokenizer,
    qwen_tokenizer,
    t5_tokenizer,
)

_LATENTS = 4
_PACKED = 4 * _LATENTS
_LONG_CLIP = 248  # tokens, which HiDream's text encoders take instead of 77
_LIKE_FLUX: dict[str, Any] = {
    "in_channels": _PACKED,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 6, 6),
}


def _flow_parts() -> dict[str, Any]:
    return {"vae": autoencoder(_LATENTS, flow=True), "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0)}


def _shifting_parts() -> dict[str, Any]:
    return _flow_parts() | {"scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)}


def lumina2() -> DiffusionPipeline:
    """Lumina 2: Gemma 2 with a system prompt."""
    tokenizer = gemma_tokenizer()
    transformer = Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=_LATENTS,
        hidden_size=16,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(512, 64, 64),
        cap_feat_dim=WIDTH,
    )
    return Lumina2Pipeline(
        **_shifting_parts(), text_encoder=gemma2(tokenizer, 2), tokenizer=tokenizer, transformer=transformer.eval()
    )


def cogview4() -> DiffusionPipeline:
    """CogView4: the last but one layer of GLM, sizes as conditions."""
    tokenizer = glm_tokenizer()
    config = GlmConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformer = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=8,
        condition_dim=4,
        rope_axes_dim=(16, 16),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
    )
    return CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=GlmModel(config).eval(),
        vae=autoencoder(_LATENTS, flow=False),
        transformer=transformer.eval(),
        scheduler=scheduler,
    )


def hidream() -> DiffusionPipeline:
    """HiDream: two CLIPs, T5 and the layers of Llama; experts in its blocks."""
    clip, clip_2 = clip_tokenizer(length=_LONG_CLIP), clip_tokenizer(length=_LONG_CLIP)
    t5, words = t5_tokenizer(), llama_tokenizer("right")
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=[32, WIDTH],
        text_emb_dim=2 * CLIP_WIDTH,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(32, 32),
        llama_layers=(0, 1),
    )
    return HiDreamImagePipeline(
        **_flow_parts(),
        text_encoder=clip_text_model_with_projection(clip),
        tokenizer=clip,
        text_encoder_2=clip_text_model_with_projection(clip_2),
        tokenizer_2=clip_2,
        text_encoder_3=t5_encoder(t5, 32),
        tokenizer_3=t5,
        text_encoder_4=llama(words, 2, LlamaForCausalLM),
        tokenizer_4=words,
        transformer=transformer.eval(),
    )


def ovis_image() -> DiffusionPipeline:
    """Ovis-Image: FLUX's blocks with Qwen3."""
    tokenizer = qwen_tokenizer()
    transformer = OvisImageTransformer2DModel(**_LIKE_FLUX, out_channels=_PACKED)
    return OvisImagePipeline(
        **_shifting_parts(),
        text_encoder=qwen3(Qwen3Model, tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    )


def longcat_image() -> DiffusionPipeline:
    """LongCat-Image: FLUX's blocks with Qwen2.5-VL, which can also rewrite the prompt."""
    tokenizer = qwen_tokenizer()
    latents = 16  # the pipeline draws no other number of channels
    transformer = LongCatImageTransformer2DModel(
        **_LIKE_FLUX | {"in_channels": 4 * latents}, pooled_projection_dim=WIDTH
    )
    return LongCatImagePipeline(
        **_shifting_parts() | {"vae": autoencoder(latents, flow=True)},
        text_encoder=qwen25_vl(tokenizer),
        tokenizer=tokenizer,
        text_processor=qwen25_vl_processor(tokenizer),
        transformer=transformer.eval(),
    )


def ernie_image() -> DiffusionPipeline:
    """ERNIE-Image: Mistral 3 and FLUX.2's VAE, whose normalization has the statistics of a batch."""
    tokenizer = mistral_tokenizer()
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=_PACKED,
        out_channels=_PACKED,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
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
    return ErnieImagePipeline(
        transformer=transformer.eval(),
        vae=vae.eval(),
        text_encoder=mistral3(tokenizer, 2).model,
        tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


SAMPLES = {
    "lumina2": Sample(lumina2, "Lumina2Pipeline"),
    "cogview4": Sample(cogview4, "CogView4Pipeline"),
    "hidream": Sample(hidream, "HiDreamImagePipeline", width=64, height=64),
    "ovis-image": Sample(ovis_image, "OvisImagePipeline"),
    "longcat-image": Sample(longcat_image, "LongCatImagePipeline", always={"enable_prompt_rewrite": False}),
    "ernie-image": Sample(ernie_image, "ErnieImagePipeline", always={"use_pe": False}),
}

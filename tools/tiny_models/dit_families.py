"""Image families with T5 (or one of its kin) as text encoder and a transformer."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PRXPipeline,
    PRXTransformer2DModel,
)
from transformers import T5GemmaConfig, UMT5Config, UMT5EncoderModel
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from tools.tiny_models.encoders import autoencoder, t5_encoder
from tools.tiny_models.sample import Input, Sample
from tools.tiny_models.tokens import gemma_tokenizer, t5_tokenizer

_TEXT_WIDTH = 32
_PACKED = 16  # 4 latent channels in 2×2 patches


def _t5_parts(latents: int = 4, *, flow: bool = True) -> dict[str, Any]:
    tokenizer = t5_tokenizer()
    text_encoder = t5_encoder(tokenizer, _TEXT_WIDTH)
    return {"tokenizer": tokenizer, "text_encoder": text_encoder, "vae": autoencoder(latents, flow=flow)}


def chroma() -> DiffusionPipeline:
    """Chroma: FLUX without CLIP and without embedded guidance; a small network makes the modulations."""
    transformer = ChromaTransformer2DModel(
        in_channels=_PACKED,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_TEXT_WIDTH,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    return ChromaPipeline(**_t5_parts(), scheduler=FlowMatchEulerDiscreteScheduler(), transformer=transformer.eval())


def bria() -> DiffusionPipeline:
    """Bria 3: a transformer like FLUX's, a VAE with a mean and a deviation for each latent channel."""
    transformer = BriaTransformer2DModel(
        in_channels=_PACKED,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_TEXT_WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    return BriaPipeline(
        **_t5_parts(), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), transformer=transformer.eval()
    )


def pixart_sigma() -> DiffusionPipeline:
    """PixArt-Sigma: T5 and cross-attention; the transformer also predicts a variance, which is thrown away."""
    parts = _t5_parts(flow=False)
    return PixArtSigmaPipeline(**parts, scheduler=DPMSolverMultistepScheduler(), transformer=_pixart_transformer())


def pixart_alpha() -> DiffusionPipeline:
    """PixArt-Alpha, which PixArt-Sigma follows."""
    parts = _t5_parts(flow=False)
    return PixArtAlphaPipeline(**parts, scheduler=DPMSolverMultistepScheduler(), transformer=_pixart_transformer())


def _pixart_transformer() -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=_TEXT_WIDTH,
        cross_attention_dim=16,
        in_channels=4,
        out_channels=8,
        use_additional_conditions=False,
    ).eval()


def auraflow() -> DiffusionPipeline:
    """AuraFlow: UMT5, learned positions."""
    parts = _t5_parts(flow=False)
    config = UMT5Config(
        vocab_size=len(parts["tokenizer"]),
        d_model=_TEXT_WIDTH,
        d_ff=2 * _TEXT_WIDTH,
        d_kv=_TEXT_WIDTH // 4,
        num_heads=4,
        num_layers=1,
        feed_forward_proj="gated-gelu",
    )
    parts["text_encoder"] = UMT5EncoderModel(config).eval()
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=_TEXT_WIDTH,
        caption_projection_dim=32,
        pos_embed_max_size=256,
    )
    return AuraFlowPipeline(
        **parts, scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73), transformer=transformer.eval()
    )


def cogview3() -> DiffusionPipeline:
    """CogView3-Plus: T5, sizes as conditions."""
    transformer = CogView3PlusTransformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        out_channels=4,
        text_embed_dim=_TEXT_WIDTH,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=8,
        sample_size=8,
    )
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", timestep_spacing="linspace")
    return CogView3PlusPipeline(**_t5_parts(flow=False), scheduler=scheduler, transformer=transformer.eval())


def prx() -> DiffusionPipeline:
    """PRX: the encoder of T5Gemma, attention of the picture on words and picture."""
    tokenizer = gemma_tokenizer()
    layers = {
        "vocab_size": len(tokenizer),
        "hidden_size": _TEXT_WIDTH,
        "intermediate_size": _TEXT_WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    config = T5GemmaConfig(encoder=layers, decoder=layers, is_encoder_decoder=False, vocab_size=len(tokenizer))
    text_encoder = T5GemmaEncoder(config.encoder)
    text_encoder.config = config  # what its file holds: diffusers reads the encoder's settings out of the whole model's
    transformer = PRXTransformer2DModel(
        in_channels=4,
        patch_size=2,
        context_in_dim=_TEXT_WIDTH,
        hidden_size=16,
        mlp_ratio=2.0,
        num_heads=2,
        depth=1,
        axes_dim=[4, 4],
    )
    return PRXPipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        vae=autoencoder(4, flow=True),
    )


_EXACT = {"use_resolution_binning": False}
SAMPLES = {
    "chroma": Sample(
        chroma,
        "ChromaPipeline",
        {"txt2img": {}, "img2img": {"image": Input.PICTURE, "strength": 0.8}},
        classes={"img2img": "ChromaImg2ImgPipeline"},
    ),
    "bria": Sample(bria, "BriaPipeline"),
    "pixart-sigma": Sample(pixart_sigma, "PixArtSigmaPipeline", always={**_EXACT, "clean_caption": False}),
    "pixart-alpha": Sample(pixart_alpha, "PixArtAlphaPipeline", always={**_EXACT, "clean_caption": False}),
    "auraflow": Sample(auraflow, "AuraFlowPipeline"),
    "cogview3": Sample(cogview3, "CogView3PlusPipeline"),
    "prx": Sample(prx, "PRXPipeline", always={**_EXACT, "skip_text_cleaning": True}),
}

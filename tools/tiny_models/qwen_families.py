"""The families with Qwen's language models as text encoders: Qwen-Image and its editors, Krea 2, Z-Image."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImageOmniPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Qwen3Model,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    Siglip2ImageProcessorPil,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)

from tools.tiny_models.encoders import autoencoder
from tools.tiny_models.language_models import WIDTH, qwen3, qwen3_vl, qwen25_vl
from tools.tiny_models.processors import qwen3_vl_processor, qwen25_vl_processor
from tools.tiny_models.sample import Input, Sample
from tools.tiny_models.tokens import qwen_tokenizer

_LATENTS = 4
_SIGHT_WIDTH = 16
_DEEP = 5  # times that the editors' VAE halves a picture, of a megapixel whatever was sent: real ones do 3 in seconds


def qwen_image() -> DiffusionPipeline:
    """Qwen-Image: Qwen2.5-VL, and a VAE made for videos, with a mean and a deviation for each latent channel."""
    return QwenImagePipeline(**_qwen_image_parts())


def qwen_image_edit() -> DiffusionPipeline:
    """Qwen-Image-Edit: the picture goes through the text encoder and the VAE, scaled to a megapixel for the latter."""
    parts = _qwen_image_parts(_DEEP)
    return QwenImageEditPipeline(**parts, processor=qwen25_vl_processor(parts["tokenizer"]))


def qwen_image_edit_plus() -> DiffusionPipeline:
    """Qwen-Image-Edit-2509 and -2511: one or several pictures."""
    parts = _qwen_image_parts(_DEEP)
    return QwenImageEditPlusPipeline(**parts, processor=qwen25_vl_processor(parts["tokenizer"]))


def _qwen_image_parts(halvings: int = 3) -> dict[str, Any]:
    tokenizer = qwen_tokenizer()
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * _LATENTS,
        out_channels=_LATENTS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(8, 4, 4),
    )
    return {
        "scheduler": _shifting_scheduler(),
        "vae": _qwen_vae(halvings),
        "text_encoder": qwen25_vl(tokenizer),
        "tokenizer": tokenizer,
        "transformer": transformer.eval(),
    }


def _qwen_vae(halvings: int = 3) -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(
        base_dim=4 if halvings == 3 else 2,
        z_dim=_LATENTS,
        dim_mult=[1] * (halvings + 1),
        num_res_blocks=1,
        temperal_downsample=[False, True, True, False, False][:halvings],
        latents_mean=[0.1] * _LATENTS,
        latents_std=[1.5] * _LATENTS,
    ).eval()


def _shifting_scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )


def krea2() -> DiffusionPipeline:
    """Krea 2: several layers of Qwen3-VL are fused, Qwen-Image's VAE decodes."""
    tokenizer = qwen_tokenizer()
    transformer = Krea2Transformer2DModel(
        in_channels=4 * _LATENTS,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=WIDTH,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
        rope_theta=1000.0,
    )
    return Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        vae=_qwen_vae(),
        text_encoder=qwen3_vl(Qwen3VLModel, tokenizer),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        text_encoder_select_layers=(0, 1, 2),
        is_distilled=True,
    )


def qwen_image_21() -> DiffusionPipeline:
    """Qwen-Image 2.1: pictures with transparency, from words or from pictures, and a VAE that shrinks by 16."""
    tokenizer, channels = qwen_tokenizer(), 8
    transformer = QwenImage21Transformer2DModel(
        patch_size=1,
        in_channels=channels,
        out_channels=channels,
        num_layers=2,
        attention_head_dim=16,  # flex attention takes no smaller one
        num_attention_heads=2,
        context_in_dim=WIDTH,
        mlp_ratio=2,
        axes_dims_rope=(4, 6, 6),
    )
    vae = AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True, True],
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )
    return QwenImage21Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae.eval(),
        text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, tokenizer),
        processor=qwen3_vl_processor(tokenizer),
        transformer=transformer.eval(),
    )


def z_image() -> DiffusionPipeline:
    """Z-Image: the last but one layer of Qwen3, a single stream of words and picture."""
    return ZImagePipeline(**_z_image_parts())


def z_image_omni() -> DiffusionPipeline:
    """Z-Image Omni: one or several pictures beside the words, which SigLIP 2 looks at."""
    sight = Siglip2VisionConfig(
        hidden_size=_SIGHT_WIDTH, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_patches=16
    )
    return ZImageOmniPipeline(
        **_z_image_parts(siglip_feat_dim=_SIGHT_WIDTH),
        siglip=Siglip2VisionModel(sight).eval(),
        siglip_processor=Siglip2ImageProcessorPil(patch_size=16, max_num_patches=16),
    )


def _z_image_parts(**transformer_options: Any) -> dict[str, Any]:
    tokenizer = qwen_tokenizer()
    transformer = ZImageTransformer2DModel(
        in_channels=_LATENTS,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
        **transformer_options,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": autoencoder(_LATENTS, flow=True),
        "text_encoder": qwen3(Qwen3Model, tokenizer),
        "tokenizer": tokenizer,
        "transformer": transformer.eval(),
    }


_GUIDED = {"negative_prompt": " ", "true_cfg_scale": 4.0}
SAMPLES = {
    "qwen-image": Sample(
        qwen_image,
        "QwenImagePipeline",
        {
            "txt2img": _GUIDED,
            "img2img": {**_GUIDED, "image": Input.PICTURE, "strength": 0.8},
            "inpaint": {**_GUIDED, "image": Input.PICTURE, "mask_image": Input.MASK, "strength": 0.8},
        },
        classes={"img2img": "QwenImageImg2ImgPipeline", "inpaint": "QwenImageInpaintPipeline"},
    ),
    "qwen-image-edit": Sample(
        qwen_image_edit, "QwenImageEditPipeline", {"edit": {"image": Input.PICTURE}}, width=64, height=64
    ),
    "qwen-image-edit-plus": Sample(
        qwen_image_edit_plus, "QwenImageEditPlusPipeline", {"edit": {"image": Input.PICTURES}}, width=64, height=64
    ),
    "qwen-image-21": Sample(
        qwen_image_21,
        "QwenImage21Pipeline",
        {"txt2img": {}, "edit": {"image": Input.PICTURES, "output_resolution": 32}},
        always={"true_cfg_scale": 1.0},
    ),
    "krea2": Sample(krea2, "Krea2Pipeline", {"txt2img": {"guidance_scale": 0.0}}),
    "z-image": Sample(
        z_image,
        "ZImagePipeline",
        {"txt2img": {}, "img2img": {"image": Input.PICTURE, "strength": 0.8}},
        classes={"img2img": "ZImageImg2ImgPipeline"},
        always={"guidance_scale": 0.0},
    ),
    "z-image-omni": Sample(
        z_image_omni,
        "ZImageOmniPipeline",
        {"txt2img": {}, "edit": {"image": Input.PICTURES}},
        width=64,
        height=64,
        dtype="bfloat16",
    ),
}

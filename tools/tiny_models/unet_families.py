"""The families with a UNet: Stable Diffusion 1.5, its consistency models, and SDXL."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tools.tiny_models.encoders import (
    CLIP_WIDTH,
    autoencoder,
    clip_text_model,
    clip_text_model_with_projection,
)
from tools.tiny_models.sample import Input, Sample
from tools.tiny_models.tokens import clip_tokenizer

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def sd15() -> DiffusionPipeline:
    """Stable Diffusion 1.5, without its safety checker (that is a component of its own)."""
    return StableDiffusionPipeline(
        scheduler=DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False), **_sd15_parts()
    )


def sd15_inpainting() -> DiffusionPipeline:
    """Stable Diffusion's inpainting model: its UNet takes latents, mask and masked image, 9 channels."""
    scheduler = DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False)
    return StableDiffusionInpaintPipeline(scheduler=scheduler, **_sd15_parts(in_channels=9))


def instruct_pix2pix() -> DiffusionPipeline:
    """Stable Diffusion for instructions on an image, which its UNet takes in addition to the latents."""
    scheduler = EulerDiscreteScheduler(**_BETAS)
    return StableDiffusionInstructPix2PixPipeline(scheduler=scheduler, **_sd15_parts(in_channels=8))


def lcm() -> DiffusionPipeline:
    """A latent consistency model: Stable Diffusion 1.5 whose UNet has a guidance embedding, for a few large steps."""
    return LatentConsistencyModelPipeline(
        scheduler=LCMScheduler(**{**_BETAS, "steps_offset": 0}, clip_sample=False),
        **_sd15_parts(time_cond_proj_dim=32),
    )


def _sd15_parts(**more: int) -> dict[str, Any]:
    """The shared parts: all but the scheduler. `more` are arguments of the UNet."""
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
        **more,
    )
    return {
        "vae": autoencoder(4, flow=False),
        "text_encoder": clip_text_model(clip),
        "tokenizer": clip,
        "unet": unet.eval(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def sd21() -> DiffusionPipeline:
    """Stable Diffusion 2.1, which predicts velocities; its text encoder is padded with another token."""
    scheduler = DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")
    clip = clip_tokenizer(pad_token="!")
    parts = _sd15_parts(use_linear_projection=True) | {"text_encoder": clip_text_model(clip), "tokenizer": clip}
    return StableDiffusionPipeline(scheduler=scheduler, **parts)


def sdxl_inpainting() -> DiffusionPipeline:
    """SDXL's inpainting model: its UNet takes latents, mask and masked image, 9 channels."""
    base = sdxl().components
    unet = sdxl_unet(numbers=6, cross_attention_dim=2 * CLIP_WIDTH, transformer_layers_per_block=(1, 2), in_channels=9)
    kept = {name: part for name, part in base.items() if name not in ("unet", "image_encoder", "feature_extractor")}
    return StableDiffusionXLInpaintPipeline(**kept, unet=unet.eval())


def sdxl_refiner() -> DiffusionPipeline:
    """SDXL's refiner: the second text encoder alone, and a score of beauty as a further condition."""
    clip = clip_tokenizer(pad_token="!")
    unet = sdxl_unet(numbers=5, cross_attention_dim=CLIP_WIDTH)
    return StableDiffusionXLImg2ImgPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=clip_text_model_with_projection(clip),
        tokenizer_2=clip,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(**_BETAS, timestep_spacing="leading"),
        requires_aesthetics_score=True,
    )


def sdxl() -> DiffusionPipeline:
    """SDXL base: two text encoders side by side, and the picture's size and crop as further conditions."""
    clip, clip_2 = clip_tokenizer(), clip_tokenizer(pad_token="!")
    unet = sdxl_unet(numbers=6, cross_attention_dim=2 * CLIP_WIDTH, transformer_layers_per_block=(1, 2))
    return StableDiffusionXLPipeline(
        vae=autoencoder(4, flow=False),
        text_encoder=clip_text_model(clip),
        tokenizer=clip,
        text_encoder_2=clip_text_model_with_projection(clip_2),
        tokenizer_2=clip_2,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(**_BETAS, timestep_spacing="leading"),
    )


def sdxl_unet(*, numbers: int, **options: Any) -> UNet2DConditionModel:
    """The UNet of base and refiner, with `numbers` additional conditions: sizes, crop, score."""
    time_width = 8
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=time_width,
        projection_class_embeddings_input_dim=CLIP_WIDTH + numbers * time_width,
        norm_num_groups=4,
        **options,
    )


_START = {"image": Input.PICTURE, "strength": 0.8, "width": None, "height": None}
_PART = {"image": Input.PICTURE, "mask_image": Input.MASK}
SAMPLES = {
    "sd15": Sample(
        sd15,
        "StableDiffusionPipeline",
        {"txt2img": {}, "img2img": _START, "inpaint": _PART},
        classes={"img2img": "StableDiffusionImg2ImgPipeline", "inpaint": "StableDiffusionInpaintPipeline"},
    ),
    "sdxl": Sample(
        sdxl,
        "StableDiffusionXLPipeline",
        {"txt2img": {}, "img2img": _START, "inpaint": _PART},
        classes={"img2img": "StableDiffusionXLImg2ImgPipeline", "inpaint": "StableDiffusionXLInpaintPipeline"},
    ),
    "lcm": Sample(lcm, "LatentConsistencyModelPipeline"),
    "sd15-inpainting": Sample(sd15_inpainting, "StableDiffusionInpaintPipeline", {"inpaint": _PART}),
    "sdxl-refiner": Sample(sdxl_refiner, "StableDiffusionXLImg2ImgPipeline", {"img2img": _START}),
    "instruct-pix2pix": Sample(
        instruct_pix2pix,
        "StableDiffusionInstructPix2PixPipeline",
        {"edit": {"image": Input.PICTURE}},
        width=None,
        height=None,
    ),
}
BASIC = tuple(SAMPLES)
SAMPLES |= {
    "sd21": Sample(sd21, "StableDiffusionPipeline"),
    "sdxl-inpainting": Sample(sdxl_inpainting, "StableDiffusionXLInpaintPipeline", {"inpaint": _PART}),
}

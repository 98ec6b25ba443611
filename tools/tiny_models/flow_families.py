"""The families with a transformer and flow matching: FLUX, Stable Diffusion 3.5 and Sana."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKLWan,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
    SCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import Gemma2Config, Gemma2Model

from tools.tiny_models.encoders import (
    CLIP_WIDTH,
    autoencoder,
    clip_text_model,
    clip_text_model_with_projection,
    t5_encoder,
)
from tools.tiny_models.sample import Input, Sample
from tools.tiny_models.tokens import clip_tokenizer, gemma_tokenizer, t5_tokenizer

_FLUX_CHANNELS = 16  # 4 latent channels in 2×2 patches
_FILL_CHANNELS = 2 * _FLUX_CHANNELS + 4 * 64  # beside the latents those of the masked picture, and 8×8 of the mask


def flux() -> DiffusionPipeline:
    """FLUX.1-dev: CLIP pooled + T5 sequence, guidance embedded, one double and one single block."""
    return FluxPipeline(**_flux_parts())


def flux_kontext() -> DiffusionPipeline:
    """FLUX.1 Kontext: the input image's latents are appended to those that are denoised."""
    return FluxKontextPipeline(**_flux_parts())


def flux_fill() -> DiffusionPipeline:
    """FLUX.1 Fill: the masked image and the mask are concatenated to the latents."""
    return FluxFillPipeline(**_flux_parts(in_channels=_FILL_CHANNELS, out_channels=_FLUX_CHANNELS))


def flux_control() -> DiffusionPipeline:
    """FLUX.1 Canny and Depth: the latents of a control picture are concatenated to those that are denoised."""
    return FluxControlPipeline(**_flux_parts(in_channels=2 * _FLUX_CHANNELS, out_channels=_FLUX_CHANNELS))


def _flux_parts(**transformer_options: Any) -> dict[str, Any]:
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    channels = {"in_channels": _FLUX_CHANNELS} | transformer_options
    transformer = FluxTransformer2DModel(
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
        **channels,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": autoencoder(4, flow=True),
        "text_encoder": clip_text_model(clip),
        "tokenizer": clip,
        "text_encoder_2": t5_encoder(t5, 32),
        "tokenizer_2": t5,
        "transformer": transformer.eval(),
    }


def sd35() -> DiffusionPipeline:
    """Stable Diffusion 3.5: two CLIPs side by side, padded to the width of T5, which follows them in the sequence."""
    clip, clip_2, t5 = clip_tokenizer(), clip_tokenizer(pad_token="!"), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,  # the inpainting pipeline takes no other number
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * CLIP_WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=2 * CLIP_WIDTH,
        out_channels=16,
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    )
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(16, flow=True),
        text_encoder=clip_text_model_with_projection(clip),
        tokenizer=clip,
        text_encoder_2=clip_text_model_with_projection(clip_2),
        tokenizer_2=clip_2,
        text_encoder_3=t5_encoder(t5, 2 * CLIP_WIDTH),
        tokenizer_3=t5,
        transformer=transformer.eval(),
    )


def sana() -> DiffusionPipeline:
    """Sana: a language model as text encoder, linear attention, and an autoencoder that shrinks by 32 (here by 8)."""
    scheduler = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return SanaPipeline(**_sana_parts(sample_size=16), scheduler=scheduler)


def sana_sprint() -> DiffusionPipeline:
    """Sana Sprint: Sana with a guidance embedding, for two steps."""
    options = {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}
    return SanaSprintPipeline(**_sana_parts(sample_size=32, **options), scheduler=SCMScheduler())


def sana_video() -> DiffusionPipeline:
    """Sana Video: Sana's linear attention over frames, and Wan's VAE."""
    parts = _sana_parts(sample_size=16)
    transformer = SanaVideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=12,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=16,
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0)
    return SanaVideoPipeline(**parts | {"vae": vae.eval(), "transformer": transformer.eval()}, scheduler=scheduler)


def _sana_parts(**transformer_options: Any) -> dict[str, Any]:
    gemma = gemma_tokenizer()
    text_encoder = Gemma2Model(
        Gemma2Config(
            vocab_size=len(gemma),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            bos_token_id=gemma.bos_token_id,
            eos_token_id=gemma.eos_token_id,
            pad_token_id=gemma.pad_token_id,
        )
    )
    transformer = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        patch_size=1,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        **transformer_options,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        # Its attention divides by the size of a query that went through a ReLU, so it jumps where a whole query turns
        # zero: with 32 numbers in one (the real ones) that is never met, with 2 a rounding flips a pixel now and then.
        attention_head_dim=8,
        encoder_block_types=("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        encoder_qkv_multiscales=((), (), (), (5,)),
        decoder_qkv_multiscales=((), (), (), (5,)),
        encoder_layers_per_block=(1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )
    return {
        "tokenizer": gemma,
        "text_encoder": text_encoder.eval(),
        "vae": vae.eval(),
        "transformer": transformer.eval(),
    }


_START = {"image": Input.PICTURE, "strength": 0.8}
_PART = {**_START, "mask_image": Input.MASK}
_TASKS = {"txt2img": {}, "img2img": _START, "inpaint": _PART}
SAMPLES = {
    "flux": Sample(
        flux, "FluxPipeline", _TASKS, classes={"img2img": "FluxImg2ImgPipeline", "inpaint": "FluxInpaintPipeline"}
    ),
    "sd35": Sample(
        sd35,
        "StableDiffusion3Pipeline",
        _TASKS,
        classes={"img2img": "StableDiffusion3Img2ImgPipeline", "inpaint": "StableDiffusion3InpaintPipeline"},
    ),
    "sana": Sample(sana, "SanaPipeline", always={"use_resolution_binning": False}),
    "sana-sprint": Sample(sana_sprint, "SanaSprintPipeline", always={"use_resolution_binning": False}),
    "flux-kontext": Sample(
        flux_kontext, "FluxKontextPipeline", {"edit": {"image": Input.PICTURE, "_auto_resize": False, "max_area": 1024}}
    ),
    "flux-fill": Sample(flux_fill, "FluxFillPipeline", {"inpaint": {"image": Input.PICTURE, "mask_image": Input.MASK}}),
}
BASIC = tuple(SAMPLES)
SAMPLES["sana-video"] = Sample(
    sana_video,
    "SanaVideoPipeline",
    {"txt2video": {"num_frames": None, "frames": 5, "use_resolution_binning": False}},
    frames=5,
)

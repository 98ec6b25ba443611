"""The families of videos: LTX-Video, whose weights do both tasks, and Wan, which has weights for each."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from tools.tiny_models.encoders import t5_encoder
from tools.tiny_models.sample import VIDEO_WORDS, Input, Sample
from tools.tiny_models.tokens import t5_tokenizer

_TEXT_WIDTH = 32
_SIGHT_WIDTH = 16
_WAN_LATENTS, _WAN_CONDITIONS = 16, 20  # channels: of the latents, and of a first frame with its mask beside them


def ltx() -> DiffusionPipeline:
    """LTX-Video: T5, a VAE that shrinks pixels by 32 and frames by 8, and a scheduler that shifts with the length."""
    t5 = t5_tokenizer()
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=_TEXT_WIDTH,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024
    )
    return LTXPipeline(
        scheduler=scheduler,
        vae=vae.eval(),
        text_encoder=t5_encoder(t5, _TEXT_WIDTH),
        tokenizer=t5,
        transformer=transformer.eval(),
    )


def wan() -> DiffusionPipeline:
    """Wan 2.1, from words."""
    return WanPipeline(**_wan_parts(_WAN_LATENTS))


def wan_from_a_picture() -> DiffusionPipeline:
    """Wan 2.1, from a first frame: beside its latents the transformer sees those of the picture, and what CLIP sees."""
    sight = CLIPVisionConfig(
        hidden_size=_SIGHT_WIDTH,
        intermediate_size=2 * _SIGHT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    parts = _wan_parts(_WAN_LATENTS + _WAN_CONDITIONS, image_dim=_SIGHT_WIDTH, added_kv_proj_dim=24)
    return WanImageToVideoPipeline(
        **parts,
        image_encoder=CLIPVisionModel(sight).eval(),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )


def wan_both() -> DiffusionPipeline:
    """Wan 2.2 of 5 billion numbers: the first frame is laid into the latents, so that the same weights do both."""
    return WanPipeline(**_wan_parts(_WAN_LATENTS), expand_timesteps=True)


def wan_two_stages() -> DiffusionPipeline:
    """Wan 2.2 of 2×14 billion numbers: one transformer for the noisy steps, a second one for the others."""
    boundary = 0.875  # of the scheduler's timesteps
    return WanPipeline(
        **_wan_parts(_WAN_LATENTS), transformer_2=_wan_transformer(_WAN_LATENTS), boundary_ratio=boundary
    )


def wan_vace() -> DiffusionPipeline:
    """Wan VACE: also repaints the masked parts of a video, and takes reference pictures."""
    transformer = WanVACETransformer3DModel(
        **_wan_shape(_WAN_LATENTS), vace_layers=[0], vace_in_channels=2 * _WAN_LATENTS + 8 * 8
    )
    return WanVACEPipeline(**{**_wan_parts(_WAN_LATENTS), "transformer": transformer.eval()})


def _wan_shape(channels: int) -> dict[str, Any]:
    return {
        "in_channels": channels,
        "out_channels": _WAN_LATENTS,
        "num_layers": 1,
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "text_dim": _TEXT_WIDTH,
        "freq_dim": 32,
        "ffn_dim": 32,
    }


def _wan_transformer(channels: int, **options: Any) -> WanTransformer3DModel:
    return WanTransformer3DModel(**_wan_shape(channels), **options).eval()


def _wan_parts(channels: int, **transformer_options: Any) -> dict[str, Any]:
    tokenizer = t5_tokenizer()
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer),
            d_model=_TEXT_WIDTH,
            d_ff=2 * _TEXT_WIDTH,
            d_kv=_TEXT_WIDTH // 4,
            num_heads=4,
            num_layers=2,
            feed_forward_proj="gated-gelu",
        )
    )
    vae = AutoencoderKLWan(base_dim=4, z_dim=_WAN_LATENTS, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    transformer = _wan_transformer(channels, **transformer_options)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )
    return {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder.eval(),
        "vae": vae.eval(),
        "transformer": transformer,
        "scheduler": scheduler,
    }


_FIRST = {"img2video": {"image": Input.PICTURE}}
SAMPLES = {
    "ltx": Sample(
        ltx,
        "LTXPipeline",
        {**VIDEO_WORDS, **_FIRST},
        classes={"img2video": "LTXImageToVideoPipeline"},
        frames=9,
    ),
    "wan": Sample(wan, "WanPipeline", VIDEO_WORDS, frames=5),
    "wan-i2v": Sample(wan_from_a_picture, "WanImageToVideoPipeline", _FIRST, frames=5),
    "wan-ti2v": Sample(
        wan_both,
        "WanPipeline",
        {**VIDEO_WORDS, **_FIRST},
        classes={"img2video": "WanImageToVideoPipeline"},
        frames=5,
    ),
}
BASIC = tuple(SAMPLES)
SAMPLES |= {
    "wan-two-stages": Sample(
        wan_two_stages,
        "WanPipeline",
        {"txt2video": {"guidance_scale": 4.0, "guidance_scale_2": 3.0}},
        frames=5,
        steps=4,
    ),
    "wan-vace": Sample(wan_vace, "WanVACEPipeline", VIDEO_WORDS, frames=5),
}

"""Video families with T5 as text encoder, besides LTX and Wan: CogVideoX, Mochi, Latte, SkyReels V2."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLMochi,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    LattePipeline,
    LatteTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
)

from tools.tiny_models.encoders import autoencoder, t5_encoder
from tools.tiny_models.sample import VIDEO_WORDS, Input, Sample
from tools.tiny_models.tokens import t5_tokenizer

_TEXT_WIDTH = 32
_LATENTS = 4
_TOKENS = 64  # of the prompt, where the transformer has a fixed number of places


def _words() -> dict[str, Any]:
    tokenizer = t5_tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": t5_encoder(tokenizer, _TEXT_WIDTH)}


def cogvideox() -> DiffusionPipeline:
    """CogVideoX, from words."""
    return CogVideoXPipeline(**_cogvideox_parts(_LATENTS))


def cogvideox_from_a_picture() -> DiffusionPipeline:
    """CogVideoX, from a first frame: its latents stand beside those that are denoised."""
    return CogVideoXImageToVideoPipeline(**_cogvideox_parts(2 * _LATENTS))


def _cogvideox_parts(channels: int) -> dict[str, Any]:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=_LATENTS,
        time_embed_dim=8,
        text_embed_dim=_TEXT_WIDTH,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        patch_size=2,
        max_text_seq_length=_TOKENS,
        use_rotary_positional_embeddings=True,
    )
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(4,) * 4,
        latent_channels=_LATENTS,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=64,
        sample_width=64,
    )
    return {
        **_words(),
        "vae": vae.eval(),
        "transformer": transformer.eval(),
        "scheduler": CogVideoXDDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing"),
    }


def mochi() -> DiffusionPipeline:
    """Mochi: a VAE with 12 channels, shrinking frames by 6."""
    transformer = MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=_TEXT_WIDTH,
        time_embed_dim=4,
        max_sequence_length=_TOKENS,
    )
    transformer.pos_frequencies.data.fill_(0.1)  # made of memory as it was
    vae = AutoencoderKLMochi(
        latent_channels=12,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        **_words(), vae=vae.eval(), transformer=transformer.eval(), scheduler=FlowMatchEulerDiscreteScheduler()
    )


def latte() -> DiffusionPipeline:
    """Latte: blocks of space and of time in turn, a VAE for pictures."""
    transformer = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=_LATENTS,
        out_channels=2 * _LATENTS,
        num_layers=1,
        cross_attention_dim=24,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        activation_fn="gelu-approximate",
        attention_bias=True,
        caption_channels=_TEXT_WIDTH,
        video_length=2,
    )
    return LattePipeline(
        **_words(),
        vae=autoencoder(_LATENTS, flow=False),
        transformer=transformer.eval(),
        scheduler=DDIMScheduler(beta_start=0.0001, beta_end=0.02),
    )


def skyreels() -> DiffusionPipeline:
    """SkyReels V2: Wan's blocks and VAE."""
    transformer = SkyReelsV2Transformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=_TEXT_WIDTH, freq_dim=32, ffn_dim=32, num_layers=1
    )
    vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0)
    return SkyReelsV2Pipeline(**_words(), vae=vae.eval(), transformer=transformer.eval(), scheduler=scheduler)


SAMPLES = {
    "cogvideox": Sample(cogvideox, "CogVideoXPipeline", VIDEO_WORDS, always={"max_sequence_length": _TOKENS}, frames=9),
    "cogvideox-i2v": Sample(
        cogvideox_from_a_picture,
        "CogVideoXImageToVideoPipeline",
        {"img2video": {"image": Input.PICTURE}},
        always={"max_sequence_length": _TOKENS},
        frames=9,
    ),
    "mochi": Sample(mochi, "MochiPipeline", VIDEO_WORDS, always={"max_sequence_length": _TOKENS}, frames=7),
    "latte": Sample(
        latte,
        "LattePipeline",
        {"txt2video": {"num_frames": None, "video_length": 2, "clean_caption": False}},
        frames=2,
    ),
    "skyreels": Sample(skyreels, "SkyReelsV2Pipeline", VIDEO_WORDS, frames=5),
}

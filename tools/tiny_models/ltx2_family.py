"""LTX-2: a video with its sound, drawn together; Gemma 3 as text encoder."""

from __future__ import annotations

from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

from tools.tiny_models.language_models import WIDTH, gemma3
from tools.tiny_models.sample import VIDEO_WORDS, Input, Sample
from tools.tiny_models.tokens import gemma_tokenizer

_LATENTS = 4
_TEXT_LAYERS = 2
_SOUND_CHANNELS, _MEL_BINS = 2, 8


def ltx2() -> DiffusionPipeline:
    """LTX-2: its VAE shrinks pixels by 32 and frames by 8; the sound has a VAE and a vocoder of its own."""
    tokenizer = gemma_tokenizer()
    transformer = LTX2VideoTransformer3DModel(
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        qk_norm="rms_norm_across_heads",
        caption_channels=WIDTH,
        rope_double_precision=False,
        rope_type="split",
    )
    return LTX2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024
        ),
        vae=_video_vae(),
        audio_vae=_sound_vae(),
        text_encoder=gemma3(tokenizer),
        tokenizer=tokenizer,
        connectors=_connectors(),
        transformer=transformer.eval(),
        vocoder=_vocoder(),
    )


def _video_vae() -> AutoencoderKLLTX2Video:
    return AutoencoderKLLTX2Video(
        latent_channels=_LATENTS,
        block_out_channels=(4, 8, 16, 32),
        decoder_block_out_channels=(4, 8, 16),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 4,
        upsample_residual=False,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    ).eval()


def _sound_vae() -> AutoencoderKLLTX2Audio:
    return AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=_SOUND_CHANNELS,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=_SOUND_CHANNELS,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        mid_block_add_attention=False,
        sample_rate=16000,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=_MEL_BINS,
    ).eval()


def _connectors() -> LTX2TextConnectors:
    return LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=_TEXT_LAYERS + 1,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_theta=10000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    ).eval()


def _vocoder() -> LTX2Vocoder:
    return LTX2Vocoder(
        in_channels=_SOUND_CHANNELS * _MEL_BINS,
        hidden_channels=16,
        out_channels=_SOUND_CHANNELS,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    ).eval()


# Of the pipeline's five kinds of guidance the first is on: each of them doubles the steps' work.
_PLAIN = {
    "guidance_scale": 2.0,
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "audio_guidance_scale": 1.0,
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "max_sequence_length": 64,
}
SAMPLES = {
    "ltx2": Sample(
        ltx2,
        "LTX2Pipeline",
        {**VIDEO_WORDS, "img2video": {"image": Input.PICTURE}},
        classes={"img2video": "LTX2ImageToVideoPipeline"},
        always=_PLAIN,
        width=64,
        height=64,
        frames=9,
    ),
}

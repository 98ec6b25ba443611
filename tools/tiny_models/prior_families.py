"""Families of two models: a prior, from words to an embedding, and a decoder, from that to the picture."""

from __future__ import annotations

from diffusers import (
    DDPMScheduler,
    DiffusionPipeline,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from tools.tiny_models.encoders import CLIP_WIDTH, clip_text_model_with_projection
from tools.tiny_models.sample import Sample
from tools.tiny_models.tokens import clip_tokenizer

_SIDE = 28  # pixels that CLIP looks at


def kandinsky22() -> DiffusionPipeline:
    """Kandinsky 2.2: the prior draws CLIP's embedding of a picture; MoVQ in place of a VAE."""
    tokenizer = clip_tokenizer()
    return KandinskyV22CombinedPipeline(
        unet=_kandinsky_unet(),
        scheduler=DDPMScheduler(
            beta_start=0.00085, beta_end=0.012, clip_sample=False, variance_type="learned_range", thresholding=False
        ),
        movq=_movq(),
        prior_prior=PriorTransformer(
            num_attention_heads=2, attention_head_dim=12, embedding_dim=CLIP_WIDTH, num_layers=1
        ).eval(),
        prior_image_encoder=_clip_sight(),
        prior_text_encoder=clip_text_model_with_projection(tokenizer),
        prior_tokenizer=tokenizer,
        prior_scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=10.0
        ),
        prior_image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}
        ),
    )


def _kandinsky_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        encoder_hid_dim=CLIP_WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=16,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    ).eval()


def _movq() -> VQModel:
    return VQModel(
        block_out_channels=(32, 32),  # its norms have 32 groups
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=4,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    ).eval()


def _clip_sight() -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=CLIP_WIDTH,
        image_size=_SIDE,
        patch_size=14,
    )
    return CLIPVisionModelWithProjection(config).eval()


SAMPLES = {
    "kandinsky22": Sample(
        kandinsky22, "KandinskyV22CombinedPipeline", always={"prior_num_inference_steps": 2}, width=64, height=64
    ),
}

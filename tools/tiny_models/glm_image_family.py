"""GLM-Image: a language model writes a small picture as tokens, a transformer draws the large one after it."""

from __future__ import annotations

from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, GlmImagePipeline, GlmImageTransformer2DModel
from transformers import (
    ByT5Tokenizer,
    GlmImageConfig,
    GlmImageForConditionalGeneration,
    GlmImageImageProcessorPil,
    GlmImageProcessor,
    PreTrainedTokenizerBase,
)

from tools.tiny_models.encoders import autoencoder, t5_encoder
from tools.tiny_models.sample import Sample
from tools.tiny_models.tokens import glm_image_tokenizer

_LETTERS_WIDTH = 16
_CODES = 128  # of the small pictures


def glm_image() -> DiffusionPipeline:
    """GLM-Image, from words; ByT5 reads the letters to be drawn."""
    words, letters = glm_image_tokenizer(), ByT5Tokenizer()
    transformer = GlmImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        text_embed_dim=_LETTERS_WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        prior_vq_quantizer_codebook_size=_CODES,
    )
    vae = autoencoder(4, flow=False)
    vae.register_to_config(latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    pictures = GlmImageImageProcessorPil(
        patch_size=16, merge_size=1, temporal_patch_size=1, size={"shortest_edge": 1024, "longest_edge": 4096}
    )
    return GlmImagePipeline(
        tokenizer=letters,
        processor=GlmImageProcessor(pictures, words, chat_template=words.chat_template),
        text_encoder=t5_encoder(letters, _LETTERS_WIDTH),
        vision_language_encoder=_language_model(words),
        vae=vae,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def _language_model(tokenizer: PreTrainedTokenizerBase) -> GlmImageForConditionalGeneration:
    config = GlmImageConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "vision_vocab_size": _CODES,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"mrope_section": (2, 1, 1), "rope_type": "default", "rope_theta": 10000.0},
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": None,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "image_size": 64,
            "patch_size": 16,
            "intermediate_size": 32,
        },
        vq_config={"embed_dim": 16, "num_embeddings": _CODES, "latent_channels": 16},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        image_start_token_id=tokenizer.bos_token_id,
        image_end_token_id=tokenizer.convert_tokens_to_ids("<|end|>"),
    )
    return GlmImageForConditionalGeneration(config).eval()


SAMPLES = {"glm-image": Sample(glm_image, "GlmImagePipeline", width=64, height=64)}

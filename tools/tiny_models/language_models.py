"""Tiny language models that serve as text encoders. All take their weights from torch's current seed."""

from __future__ import annotations

from typing import Any

from transformers import (
    Gemma2Config,
    Gemma2Model,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3VLConfig,
)

WIDTH = 16
_TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
_SIGHT: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}


def _numbers(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _marks(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    names = {
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def qwen25_vl(tokenizer: PreTrainedTokenizerBase, layers: int = 2) -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL: a language model that also takes pictures, in patches of 14×14."""
    sight = {**_SIGHT, "patch_size": 14, "window_size": 112, "fullatt_block_indexes": [0]}
    config = Qwen2_5_VLConfig(
        text_config={**_TEXT, **_numbers(tokenizer), "num_hidden_layers": layers, "rope_parameters": _ROPE},
        vision_config=sight,
        tie_word_embeddings=True,
        **_marks(tokenizer),
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def qwen3_vl(kind: Any, tokenizer: PreTrainedTokenizerBase, width: int = WIDTH, layers: int = 2) -> Any:
    """Qwen3-VL as transformers' class `kind`: patches of 16×16, and a tap of the vision tower in a text layer."""
    sight = {**_SIGHT, "patch_size": 16, "out_hidden_size": width, "num_position_embeddings": 64}
    text = {**_TEXT, "hidden_size": width, "num_hidden_layers": layers, "head_dim": 8, "rope_parameters": _ROPE}
    config = Qwen3VLConfig(
        text_config={**text, **_numbers(tokenizer)},
        vision_config={**sight, "deepstack_visual_indexes": [0]},
        tie_word_embeddings=True,
        **_marks(tokenizer),
    )
    return kind(config).eval()


def qwen3(kind: Any, tokenizer: PreTrainedTokenizerBase, layers: int = 2, width: int = WIDTH) -> Any:
    """Qwen3 as transformers' class `kind`, with `layers` layers."""
    text = {**_TEXT, "hidden_size": width, "num_hidden_layers": layers, "head_dim": 8}
    return kind(Qwen3Config(**text, **_numbers(tokenizer), tie_word_embeddings=True)).eval()


def mistral3(tokenizer: PreTrainedTokenizerBase, layers: int) -> Mistral3ForConditionalGeneration:
    """Mistral Small 3: Mistral with Pixtral's vision tower."""
    config = Mistral3Config(
        text_config={**_TEXT, "model_type": "mistral", "num_hidden_layers": layers, "head_dim": 8}
        | _numbers(tokenizer),
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=True,
    )
    return Mistral3ForConditionalGeneration(config).eval()


def llama(tokenizer: PreTrainedTokenizerBase, layers: int = 4, kind: Any = LlamaModel) -> Any:
    """Llama as transformers' class `kind`."""
    return kind(LlamaConfig(**_TEXT | {"num_hidden_layers": layers}, **_numbers(tokenizer))).eval()


def gemma2(tokenizer: PreTrainedTokenizerBase, layers: int = 1) -> Gemma2Model:
    text = _TEXT | {"num_hidden_layers": layers, "head_dim": 8}
    return Gemma2Model(Gemma2Config(**text, **_numbers(tokenizer))).eval()


def gemma3(tokenizer: PreTrainedTokenizerBase) -> Gemma3ForConditionalGeneration:
    """Gemma 3 with SigLIP's vision tower."""
    config = Gemma3Config(
        text_config={**_TEXT, **_numbers(tokenizer), "head_dim": 8},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )
    return Gemma3ForConditionalGeneration(config).eval()

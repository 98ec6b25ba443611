"""Processors of words and pictures, made without files; those of pictures work on Pillow, without torchvision."""

from __future__ import annotations

from typing import Any

from transformers import PixtralImageProcessorPil, PreTrainedTokenizerBase, Qwen2VLImageProcessorPil

from app.engines.diffusers.load.processors import NoVideos, usable_class

_QWEN25 = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
_QWEN3 = {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 2}


def qwen25_vl_processor(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Qwen2-VL's processor, which Qwen2.5-VL shares."""
    return _qwen_processor("Qwen2VLProcessor", tokenizer, _QWEN25, largest=56 * 56)


def qwen3_vl_processor(tokenizer: PreTrainedTokenizerBase) -> Any:
    return _qwen_processor("Qwen3VLProcessor", tokenizer, _QWEN3, largest=64 * 64)


def _qwen_processor(name: str, tokenizer: PreTrainedTokenizerBase, patches: dict[str, int], largest: int) -> Any:
    pictures = Qwen2VLImageProcessorPil(**patches, size={"shortest_edge": 32 * 32, "longest_edge": largest})
    videos = NoVideos(video_processor_type=name.replace("Processor", "VideoProcessor"), **patches)
    return usable_class(name)(pictures, tokenizer, videos, chat_template=tokenizer.chat_template)


def pixtral_processor(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Pixtral's processor, which Mistral Small 3 shares."""
    pictures = PixtralImageProcessorPil(patch_size={"height": 14, "width": 14}, size={"longest_edge": 56})
    return usable_class("PixtralProcessor")(
        pictures, tokenizer, patch_size=14, spatial_merge_size=2, chat_template=tokenizer.chat_template
    )

"""Warns of prompts that are longer than a model's text encoders read."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase


def truncation_warnings(pipeline: Any, prompt: str, max_sequence_length: int | None) -> list[str]:
    """A warning when the prompt is too long for every text encoder."""
    shortfalls: list[tuple[int, int]] = []
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):  # some families have an image processor there
            continue
        is_clip = "CLIP" in type(tokenizer).__name__
        reach = tokenizer.model_max_length if is_clip or max_sequence_length is None else max_sequence_length
        tokens = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
        shortfalls.append((tokens - int(reach), int(reach)))
    if not shortfalls or min(shortfalls)[0] <= 0:
        return []
    missing, reach = min(shortfalls)
    return [f"The prompt is {missing + reach} tokens long; only the first {reach} were read."]

"""Safety checkers: each is loaded from a folder, safetensors only, as a function that flags images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import AutoImageProcessor, AutoModelForImageClassification, CLIPImageProcessor

from app.engines.base import Pixels
from app.errors import ModelUnavailable

Checker = Callable[[Sequence[Pixels]], Sequence[bool]]

_BAD_LABELS = frozenset({"nsfw", "unsafe", "porn", "hentai", "sexy", "explicit", "nudity", "violence", "gore"})


def clip_checker(folder: Path) -> Checker:
    """The Stable Diffusion safety checker: flags images near blocked concepts in CLIP's embedding space."""
    model = _whole(StableDiffusionSafetyChecker, folder)
    processor = _clip_processor(folder, int(model.config.vision_config.image_size))

    def check(pictures: Sequence[Pixels]) -> Sequence[bool]:
        seen = processor(images=list(pictures), return_tensors="pt").pixel_values
        black = np.zeros((len(pictures), 1, 1, 3))  # the checker overwrites flagged images: pass dummies
        _, flags = model(clip_input=seen, images=black)
        return [bool(flag) for flag in flags]

    return check


def label_checker(folder: Path) -> Checker:
    """An image classifier with labels such as `nsfw`: flags an image when its most likely label is a blocked one."""
    model = _whole(AutoModelForImageClassification, folder)
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    labels = [str(model.config.id2label[index]).lower() for index in range(model.config.num_labels)]
    if not _BAD_LABELS & set(labels):
        raise ModelUnavailable(
            f"The safety checker {folder.name} has none of the labels {', '.join(sorted(_BAD_LABELS))}."
        )

    def check(pictures: Sequence[Pixels]) -> Sequence[bool]:
        with torch.inference_mode():
            scores = model(**processor(images=list(pictures), return_tensors="pt")).logits
        return [labels[int(likeliest)] in _BAD_LABELS for likeliest in scores.argmax(-1)]

    return check


def _whole(kind: Any, folder: Path) -> Any:
    """The complete model. Checked because transformers fills missing weights with random numbers."""
    model, report = kind.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(report["missing_keys"]) + sorted(str(each[0]) for each in report["mismatched_keys"])
    if missing:
        raise ModelUnavailable(f"The safety checker {folder.name} lacks weights, such as {missing[0]}. Fetch it again.")
    return model.eval()


def _clip_processor(folder: Path, side: int) -> Any:
    """The processor in the checker's folder, or in a pipeline's feature_extractor; else CLIP's default of size
    `side`."""
    for place in (folder, folder.parent / "feature_extractor"):
        if (place / "preprocessor_config.json").is_file():
            return CLIPImageProcessor.from_pretrained(place, local_files_only=True)
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

"""Tiny safety checkers with random weights, whose result is determined by their thresholds."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, ViTConfig, ViTForImageClassification, ViTImageProcessor

_SIDE = 32
_SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
ALWAYS, NEVER = -2.0, 2.0  # thresholds below and above any cosine


def clip_checker(folder: Path, threshold: float) -> Path:
    """The Stable Diffusion safety checker, which flags an image nearer than `threshold` to any of its concepts, laid
    out as in a pipeline's folder. Returns the folder."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        vision = {**_SMALL, "image_size": _SIDE, "patch_size": 8, "projection_dim": 8}
        checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=_SMALL, projection_dim=8))
        torch.nn.init.normal_(checker.concept_embeds)
        torch.nn.init.normal_(checker.special_care_embeds)
        checker.concept_embeds_weights.fill_(threshold)
        checker.special_care_embeds_weights.fill_(NEVER)
    checker.save_pretrained(folder / "safety_checker")
    size = {"height": _SIDE, "width": _SIDE}
    CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size=size).save_pretrained(folder / "feature_extractor")
    return folder


def label_checker(folder: Path, says: str, labels: tuple[str, ...] = ("normal", "nsfw")) -> Path:
    """A classifier of `labels` that always returns the same one. Returns the folder."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = ViTConfig(**_SMALL, image_size=_SIDE, patch_size=8, id2label=dict(enumerate(labels)))
        model = ViTForImageClassification(config)
        model.classifier.bias.data[labels.index(says)] = 100.0
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": _SIDE, "width": _SIDE}).save_pretrained(folder)
    return folder

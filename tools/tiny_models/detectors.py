"""Tiny detectors of transformers: people, poses and segments. Weights are random, but people are found."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessorPil,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessorPil,
)

_SEED = 20250103
_SIDE = 32  # pixels


def build_segmenter(folder: Path, *, classes: int = 150, seed: int = _SEED) -> Path:
    """A SegFormer with as many classes as ADE20K has, and its image processor."""
    once, sizes = [1, 1, 1, 1], [8, 8, 8, 8]
    config = SegformerConfig(
        depths=once,
        hidden_sizes=sizes,
        num_attention_heads=once,
        decoder_hidden_size=16,
        num_labels=classes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        SegformerForSemanticSegmentation(config).eval().save_pretrained(folder, safe_serialization=True)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def build_pose_detector(folder: Path, *, seed: int = _SEED) -> Path:
    """A ViTPose for COCO's 17 key points, and its image processor."""
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        out_features=["stage1"],
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=17)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VitPoseForPoseEstimation(config).eval()
        with torch.no_grad():
            for weight in model.head.parameters():
                weight.mul_(20.0)  # some scores are above what counts as seen
    model.save_pretrained(folder, safe_serialization=True)
    VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


def build_person_detector(folder: Path, *, person: str = "person", seed: int = _SEED) -> Path:
    """A YOLOS that takes most of its queries for the class `person`, and its image processor."""
    config = YolosConfig(
        image_size=[_SIDE, _SIDE],
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_detection_tokens=3,
        use_mid_position_embeddings=False,
        id2label={0: person, 1: "tree"},
        label2id={person: 0, "tree": 1},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = YolosForObjectDetection(config).eval()
        with torch.no_grad():
            model.class_labels_classifier.layers[-1].bias.copy_(torch.tensor([4.0, 0.0, 0.0]))
    model.save_pretrained(folder, safe_serialization=True)
    YolosImageProcessorPil(size={"shortest_edge": _SIDE, "longest_edge": 2 * _SIDE}).save_pretrained(folder)
    return folder

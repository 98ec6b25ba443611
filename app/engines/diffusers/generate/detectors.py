"""Makes control pictures for a request: by arithmetic, or by models of transformers (depth, poses, segments)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from app.core.control_colours import ADE20K_COLOURS
from app.core.control_inputs import WEIGHTLESS
from app.engines.base import Pixels
from app.engines.diffusers.memory.loaded import LoadedModel
from app.files.control_pictures import control_picture
from app.files.pose_pictures import draw_poses, openpose_points

_LEAST_PERSON_SCORE = 0.5
_MOST_PEOPLE = 20


def processed(processor: str | None, pixels: Pixels, auxiliaries: Mapping[str, LoadedModel]) -> Pixels:
    """What `processor` makes of `pixels`, in the same size; `auxiliaries` hold its detector under its name."""
    if processor is None or processor in WEIGHTLESS:
        return control_picture(processor or "none", pixels)
    model = auxiliaries[processor]
    with torch.inference_mode():
        return _DETECTED[processor](pixels, model.pipeline, model.device)


def _depth(pixels: Pixels, parts: Any, device: torch.device) -> Pixels:
    """Near is white, as ControlNets for depth are trained."""
    given = parts.processor(images=Image.fromarray(pixels), return_tensors="pt").to(device)
    depth = parts.detector(**given).predicted_depth[:, None].float()
    size = (pixels.shape[0], pixels.shape[1])
    depth = torch.nn.functional.interpolate(depth, size=size, mode="bicubic", align_corners=False)[0, 0]
    low, high = depth.min(), depth.max()
    grey = ((depth - low) / (high - low).clamp(min=1e-6) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return np.repeat(grey[..., None], 3, axis=2)


def _segments(pixels: Pixels, parts: Any, device: torch.device) -> Pixels:
    """Each segment in the colour of its class in ADE20K."""
    given = parts.processor(images=Image.fromarray(pixels), return_tensors="pt").to(device)
    found = parts.detector(**given)
    (labels,) = parts.processor.post_process_semantic_segmentation(found, target_sizes=[pixels.shape[:2]])
    coloured: Pixels = np.array(ADE20K_COLOURS, np.uint8)[labels.cpu().numpy()]
    return coloured


def _poses(pixels: Pixels, parts: Any, device: torch.device) -> Pixels:
    """Each person as OpenPose draws one."""
    picture = Image.fromarray(pixels)
    boxes = _people(picture, parts, device)
    if not boxes:
        return np.zeros_like(pixels)
    given = parts.processor(picture, boxes=[boxes], return_tensors="pt").to(device)
    several = getattr(parts.detector.config.backbone_config, "num_experts", 1) > 1
    experts = {"dataset_index": torch.zeros(len(boxes), dtype=torch.int64, device=device)} if several else {}
    found = parts.detector(**given, **experts)
    (people,) = parts.processor.post_process_pose_estimation(found, boxes=[boxes])
    points = [openpose_points(one["keypoints"].cpu().numpy(), one["scores"].cpu().numpy()) for one in people]
    return draw_poses(points, picture.width, picture.height)


def _people(picture: Image.Image, parts: Any, device: torch.device) -> Sequence[Sequence[float]]:
    """Boxes (left, top, width, height) of people; without a detector of people the whole picture is one."""
    if "person_detector" not in parts.weights:
        return [[0.0, 0.0, float(picture.width), float(picture.height)]]
    given = parts.person_processor(images=picture, return_tensors="pt").to(device)
    found = parts.person_detector(**given)
    sizes = [(picture.height, picture.width)]
    (seen,) = parts.person_processor.post_process_object_detection(
        found, threshold=_LEAST_PERSON_SCORE, target_sizes=sizes
    )
    names = parts.person_detector.config.id2label
    boxes = [
        box.tolist()
        for box, label in zip(seen["boxes"], seen["labels"], strict=True)
        if str(names.get(int(label))).lower() == "person"
    ]
    return [[left, top, right - left, bottom - top] for left, top, right, bottom in boxes[:_MOST_PEOPLE]]


_DETECTED: Mapping[str, Callable[[Pixels, Any, torch.device], Pixels]] = {
    "depth": _depth,
    "pose": _poses,
    "seg": _segments,
}

"""Makes control pictures for a request: by arithmetic, or by a detector of transformers."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from app.core.control_inputs import WEIGHTLESS
from app.engines.base import Pixels
from app.engines.diffusers.memory.loaded import LoadedModel
from app.files.control_pictures import control_picture


def processed(processor: str | None, pixels: Pixels, auxiliaries: Mapping[str, LoadedModel]) -> Pixels:
    """What `processor` makes of `pixels`, in the same size; `auxiliaries` hold its detector under its name."""
    if processor is None or processor in WEIGHTLESS:
        return control_picture(processor or "none", pixels)
    parts = auxiliaries[processor].pipeline
    size = (pixels.shape[0], pixels.shape[1])
    given = parts.processor(images=Image.fromarray(pixels), return_tensors="pt").to(parts.detector.device)
    with torch.inference_mode():
        found = parts.detector(**given)
    return _DRAWN[processor](parts.processor, found, size)


def _depth(processor: Any, found: Any, size: tuple[int, int]) -> Pixels:
    """Near is white, as ControlNets for depth are trained."""
    depth = found.predicted_depth[:, None].float()
    depth = torch.nn.functional.interpolate(depth, size=size, mode="bicubic", align_corners=False)[0, 0]
    low, high = depth.min(), depth.max()
    grey = ((depth - low) / (high - low).clamp(min=1e-6) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return np.repeat(grey[..., None], 3, axis=2)


def _segments(processor: Any, found: Any, size: tuple[int, int]) -> Pixels:
    """Each class in a colour of its own."""
    classes = processor.post_process_semantic_segmentation(found, target_sizes=[size])[0].cpu().numpy()
    colours: Pixels = np.asarray([_colour(index) for index in range(int(classes.max()) + 1)], np.uint8)
    drawn: Pixels = colours[classes]
    return drawn


def _colour(index: int) -> tuple[int, int, int]:
    """Hues apart by the golden angle, so that neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1.0, 0.5 + 0.5 * (index % 2), 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


_DRAWN = {"depth": _depth, "seg": _segments}

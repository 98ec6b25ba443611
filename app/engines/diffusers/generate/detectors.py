"""Makes control pictures for a request: by arithmetic, or by a depth detector of transformers."""

from __future__ import annotations

from collections.abc import Mapping

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
    return _depth(pixels, auxiliaries[processor])


def _depth(pixels: Pixels, model: LoadedModel) -> Pixels:
    """Near is white, as ControlNets for depth are trained."""
    parts = model.pipeline
    given = parts.processor(images=Image.fromarray(pixels), return_tensors="pt").to(model.device)
    with torch.inference_mode():
        depth = parts.detector(**given).predicted_depth[:, None].float()
    size = (pixels.shape[0], pixels.shape[1])
    depth = torch.nn.functional.interpolate(depth, size=size, mode="bicubic", align_corners=False)[0, 0]
    low, high = depth.min(), depth.max()
    grey = ((depth - low) / (high - low).clamp(min=1e-6) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return np.repeat(grey[..., None], 3, axis=2)

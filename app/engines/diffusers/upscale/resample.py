"""Enlarging without a model: Lanczos' filter."""

from __future__ import annotations

import numpy as np
from PIL import Image

from app.engines.base import Pixels


def resampled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """`pixels` at `size`, also made smaller. Transparency is resampled with its colours, which PIL weights by it."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))

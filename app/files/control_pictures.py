"""Control pictures that need no weights: Canny's edges, lines, and a picture without its details."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_LOW, _HIGH = 100.0, 200.0  # gradients that continue an edge, and that begin one: what OpenCV's users pass
_TILE_SCALE = 8
_LINE_DEVIATION, _LINE_THRESHOLD = 6.0, 8


def control_picture(processor: str, pixels: Pixels) -> Pixels:
    """The control picture that `processor`, one without weights, makes of RGB `pixels`, of the same size."""
    if processor == "canny":
        return canny(pixels)
    if processor == "lineart":
        return lineart(pixels)
    return tile(pixels) if processor == "tile" else pixels


def tile(pixels: Pixels) -> Pixels:
    """The picture scaled down to an eighth and back: colours and shapes stay, details go."""
    picture = Image.fromarray(pixels)
    small = (max(1, picture.width // _TILE_SCALE), max(1, picture.height // _TILE_SCALE))
    return np.asarray(picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BICUBIC))


def lineart(pixels: Pixels) -> Pixels:
    """White lines on black where the picture is darker than what is around it: `lineart_standard` of ControlNet's
    annotators, at the picture's size. Its numbers are those for pictures of 512 pixels."""
    from scipy import ndimage

    deviation = _LINE_DEVIATION * min(pixels.shape[:2]) / 512
    wide = pixels.astype(np.float32)
    around = ndimage.gaussian_filter(wide, (deviation, deviation, 0), mode="mirror")
    darker = (around - wide).min(axis=2).clip(0, 255)
    seen = darker[darker > _LINE_THRESHOLD]
    lines = darker / max(16.0, float(np.median(seen)) if seen.size else 0.0) * 127
    return np.repeat(lines.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def canny(pixels: Pixels) -> Pixels:
    """White edges, one pixel wide, on black, as OpenCV finds them in a picture in colours."""
    from scipy import ndimage  # a second to import: with the first picture

    wide = pixels.astype(np.float32)
    steps = [ndimage.correlate1d(wide, (-1, 0, 1), axis, mode="nearest") for axis in (1, 0)]
    gradients = [ndimage.correlate1d(step, (1, 2, 1), axis, mode="nearest") for axis, step in enumerate(steps)]
    strengths = np.abs(gradients[0]) + np.abs(gradients[1])
    clearest = strengths.argmax(axis=2)[..., None]  # of the three colours
    across, down, strength = (np.take_along_axis(each, clearest, 2)[..., 0] for each in (*gradients, strengths))
    ridge = _highest_across(strength, across, down)
    labels, _ = ndimage.label(ridge & (strength > _LOW), structure=np.ones((3, 3)))
    begun = np.unique(labels[ridge & (strength > _HIGH)])
    edges = np.isin(labels, begun[begun > 0])
    return np.repeat((edges * 255).astype(np.uint8)[..., None], 3, axis=2)


def _highest_across(strength: npt.NDArray[Any], across: npt.NDArray[Any], down: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Where the gradient is higher than at both neighbours in its direction, to the nearest 45°."""
    turned = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(np.int8) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    result = np.zeros(strength.shape, bool)
    for direction, (rows, columns) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
        behind = padded[1 - rows : 1 - rows + height, 1 - columns : 1 - columns + width]
        result |= (turned == direction) & (strength > behind) & (strength >= ahead)
    return result

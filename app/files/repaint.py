"""Pixels around repainting: where a mask paints, what fills it beforehand, and pictures that are extended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from app.core.inputs import Extend
from app.core.repaint import OVERLAP, Box, Fill

Pixels = npt.NDArray[np.uint8]

_PAINTED = 128  # pipelines repaint what is at least half white
_RADII = (128, 64, 32, 16, 8, 4, 2)  # pixels, coarse to fine
_NOISE = 24.0  # deviation of 255


def painted_bounds(mask: Pixels) -> Box | None:
    """The smallest box around the white part of a mask; None if nothing is white."""
    rows, columns = (np.flatnonzero((mask >= _PAINTED).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def blurred(pixels: Pixels, radius: int) -> Pixels:
    """A mask with soft edges, or a soft picture; `radius` is the Gaussian's standard deviation in pixels."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))) if radius else pixels


def filled(picture: Pixels, mask: Pixels, fill: Fill) -> Pixels:
    """`picture` with its masked part replaced by the colours around it, or by noise, which is always the same: each
    picture of a job can be made again alone."""
    if fill == "original":
        return picture
    weight = mask[..., None].astype(np.float32) / 255
    if fill == "noise":
        other = np.random.default_rng(0).integers(0, 256, picture.shape).astype(np.float32)
    else:
        other = _surroundings(picture, mask)
    return (picture * (1 - weight) + other * weight).round().astype(np.uint8)


def _surroundings(picture: Pixels, mask: Pixels) -> npt.NDArray[np.float32]:
    """The colours of what is not masked, spread into the mask: from afar first, then from ever nearer."""
    known = mask < _PAINTED
    mean = picture[known].mean(axis=0) if known.any() else np.full(3, 128.0)
    found = np.broadcast_to(mean, picture.shape).astype(np.float32)
    where = np.where(known, 255, 0).astype(np.uint8)
    colours = np.where(known[..., None], picture, 0).astype(np.uint8)
    for radius in _RADII:
        near = blurred(where, radius).astype(np.float32)[..., None]
        share = np.clip(near / 255 * 4, 0, 1)  # little is known from afar, and that coarsely
        spread = blurred(colours, radius).astype(np.float32) * 255 / np.maximum(near, 1)
        found = (found * (1 - share) + spread * share).astype(np.float32)
    return found.clip(0, 255)


def extended(picture: Pixels, extend: Extend, seed: int) -> tuple[Pixels, Pixels]:
    """`picture` with its edges continued by their colours and noise, and the mask of what is new. The mask reaches into
    the picture, ever darker, so that no edge is seen."""
    sides = ((extend.top, extend.bottom), (extend.left, extend.right))
    height, width = picture.shape[:2]
    larger = np.pad(picture, (*sides, (0, 0)), mode="edge").astype(np.float32)
    ramps = [
        np.maximum(_ramp(length, before), _ramp(length, after)[::-1])
        for length, (before, after) in zip((height, width), sides, strict=True)
    ]
    inner = np.maximum(ramps[0][:, None], ramps[1][None, :])
    mask = np.pad(inner, sides, constant_values=1.0)
    is_new = np.pad(np.zeros((height, width), bool), sides, constant_values=True)
    noise = np.random.default_rng(seed).standard_normal((np.count_nonzero(is_new), 3), dtype=np.float32)
    larger[is_new] += noise * np.float32(_NOISE)
    return larger.clip(0, 255).round().astype(np.uint8), (mask * 255).round().astype(np.uint8)


def _ramp(length: int, extension: int) -> npt.NDArray[np.float32]:
    """From nearly 1 at the beginning of `length` pixels to 0, where an extension is before them."""
    overlap = min(OVERLAP, length // 4) if extension else 0
    found = np.zeros(length, np.float32)
    found[:overlap] = 1 - np.arange(1, overlap + 1) / (overlap + 1)
    return found

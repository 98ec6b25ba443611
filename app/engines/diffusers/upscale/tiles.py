"""Runs an upscaler over a picture in overlapping tiles, so that memory is bounded by the tile and not the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import torch

from app.engines.base import Pixels

OVERLAP = 32  # pixels around a tile that are drawn and cut off, so that what is kept has seen its surroundings
BLENDED = 16  # pixels of each side of a seam in which two tiles are blended, of architectures that look further
LEAST_TILE = 64

Box = tuple[int, int, int, int]  # left, top, right, bottom


class NotFinite(Exception):
    """The upscaler returned NaN or infinity."""


def boxes(width: int, height: int, tile: int) -> Sequence[Box]:
    """The parts of a picture, row by row: of nearly equal size, `tile` pixels at most."""
    return [(left, top, right, bottom) for top, bottom in _spans(height, tile) for left, right in _spans(width, tile)]


def run_in_tiles(model: Any, pixels: Pixels, tile: int, after_tile: Callable[[], None]) -> Pixels:
    """`pixels` (height, width, 3) enlarged by the scale of `model`. `after_tile` is called after each tile, and may
    raise. Raises NotFinite; out of memory passes through."""
    height, width = pixels.shape[:2]
    scale: int = model.scale
    enlarged = np.empty((height * scale, width * scale, 3), np.uint8)
    for top, bottom in _spans(height, tile):
        first, last = _with_neighbours(top, bottom, height)
        row = np.empty(((last - first) * scale, width * scale, 3), np.uint8)
        for left, right in _spans(width, tile):
            begin, end = _with_neighbours(left, right, width)
            drawn = _surrounded(model, pixels, (begin, first, end, last))
            after_tile()
            _blend_in(row.transpose(1, 0, 2), drawn.transpose(1, 0, 2), begin * scale, left * scale)
        _blend_in(enlarged, row, first * scale, top * scale)
    return enlarged


def _with_neighbours(begin: int, end: int, length: int) -> tuple[int, int]:
    return max(0, begin - BLENDED), min(length, end + BLENDED)


def _surrounded(model: Any, pixels: Pixels, box: Box) -> Pixels:
    """The part `box` of `pixels` enlarged, drawn with OVERLAP pixels around it."""
    left, top, right, bottom = box
    x, y = max(0, left - OVERLAP), max(0, top - OVERLAP)
    drawn = _drawn(model, pixels[y : bottom + OVERLAP, x : right + OVERLAP])
    scale = model.scale
    return drawn[(top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]


def _blend_in(whole: Pixels, part: Pixels, begin: int, seam: int) -> None:
    """Write `part` into `whole` from row `begin` on. As far behind the `seam` as `begin` is before it, what is there
    goes over into the part little by little."""
    both = 2 * (seam - begin)
    if both:
        rising = ((np.arange(both, dtype=np.float32) + 0.5) / both)[:, None, None]
        before = whole[begin : begin + both]
        mixed = before * (1 - rising) + part[:both] * rising
        whole[begin : begin + both] = mixed.round()
    whole[begin + both : begin + len(part)] = part[both:]


def _drawn(model: Any, part: Pixels) -> Pixels:
    sent = torch.from_numpy(part.copy()).to(model.device).permute(2, 0, 1)[None]
    made: torch.Tensor = model(sent.to(model.dtype) / 255)
    if not bool(torch.isfinite(made).all()):
        raise NotFinite
    colors = made[0] if made.shape[1] == part.shape[2] else made[0].expand(part.shape[2], -1, -1)
    rounded: Pixels = (colors.float() * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return rounded


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    count = ceil(length / tile)
    edges = [round(length * number / count) for number in range(count + 1)]
    yield from pairwise(edges)

"""Draws over a large picture tile by tile, so that memory is that of a tile.

Each tile is an img2img call of its own over what is there already, so that its overlap continues its neighbours, and
overlaps are blended. MultiDiffusion, which averages the predictions of all tiles at every step, would need the inside
of every family's loop, and all latents at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from app.core.tiling import Box, tiles_over
from app.engines.base import Pixels

DrawTile = Callable[[int, Pixels], Pixels]  # the number of a tile and its pixels → what is drawn over it


def drawn_in_tiles(pixels: Pixels, tile: int, draw: DrawTile) -> Pixels:
    """`pixels` (height, width, 3) drawn over in tiles of `tile` pixels a side. Raises what `draw` does."""
    height, width, _ = pixels.shape
    boxes = tiles_over((width, height), tile)
    drawn, shares = np.zeros(pixels.shape, np.float32), np.zeros((height, width, 1), np.float32)
    for number, box in enumerate(boxes):
        left, top, right, bottom = box
        part, share = drawn[top:bottom, left:right], shares[top:bottom, left:right]
        begin = part / np.maximum(share, 1) + pixels[top:bottom, left:right] * (1 - np.minimum(share, 1))
        weights = _weights(box, boxes)
        part += weights * draw(number, _rounded(begin))
        share += weights
    return _rounded(drawn / shares)


def _weights(box: Box, boxes: Sequence[Box]) -> npt.NDArray[np.float32]:
    """How much a tile counts at each pixel, (height, width, 1): less and less towards its neighbours, over their
    overlap. A mean by these weights has no edges, in whatever order the tiles are drawn."""
    left, top, right, bottom = box
    across = _ramps((left, right), {(each[0], each[2]) for each in boxes})
    down = _ramps((top, bottom), {(each[1], each[3]) for each in boxes})
    return (down[:, None] * across[None, :])[..., None]


def _ramps(own: tuple[int, int], spans: Collection[tuple[int, int]]) -> npt.NDArray[np.float32]:
    begin, end = own
    before = max((other_end for other_begin, other_end in spans if other_begin < begin), default=begin) - begin
    after = end - min((other_begin for other_begin, _ in spans if other_begin > begin), default=end)
    weights = np.ones(end - begin, np.float32)
    for overlap, part in ((before, weights), (after, weights[::-1])):
        if overlap > 0:
            part[:overlap] *= (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
    return weights


def _rounded(values: npt.NDArray[np.float32]) -> Pixels:
    return np.clip(values.round(), 0, 255).astype(np.uint8)

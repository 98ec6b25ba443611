"""Tiles that differ from each other are blended: no edge is seen where they meet."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.core.tiling import tiles_over
from app.engines.diffusers.generate.tiled_pass import drawn_in_tiles
from app.errors import Cancelled

SIDE, TILE = 160, 64


def a_scene() -> np.ndarray:
    """Smooth colours with some structure."""
    small = np.random.default_rng(2).integers(60, 196, (9, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def shifted(number: int, part: np.ndarray) -> np.ndarray:
    """Each tile has another brightness, as tiles of a model have."""
    return np.clip(part.astype(int) + (12 if number % 2 else -12), 0, 255).astype(np.uint8)


def jump(pixels: np.ndarray, columns: list[int]) -> float:
    """The mean step in brightness between neighbours across these columns."""
    grey = pixels.astype(float).mean(axis=2)
    return float(np.mean([np.abs(grey[:, column] - grey[:, column - 1]).mean() for column in columns]))


def test_no_step_at_the_edges_of_tiles_is_larger_than_inside() -> None:
    """As for extended pictures; without blending the same tiles have one."""
    scene = a_scene()
    edges = sorted({box[0] for box in tiles_over((SIDE, SIDE), TILE)} - {0})
    edges += sorted({box[2] for box in tiles_over((SIDE, SIDE), TILE)} - {SIDE})
    inside = [column for column in range(4, SIDE - 4) if min(abs(column - edge) for edge in edges) > 3]
    blended = drawn_in_tiles(scene, TILE, shifted)
    cut = scene.copy()
    for number, (left, top, right, bottom) in enumerate(tiles_over((SIDE, SIDE), TILE)):
        cut[top:bottom, left:right] = shifted(number, scene[top:bottom, left:right])
    assert jump(blended, edges) <= 1.1 * jump(blended, inside)
    assert jump(cut, edges) > 2 * jump(cut, inside)
    assert jump(blended.transpose(1, 0, 2), edges) <= 1.1 * jump(blended.transpose(1, 0, 2), inside)


def test_tiles_that_change_nothing_give_the_picture_back() -> None:
    scene = a_scene()
    assert np.array_equal(drawn_in_tiles(scene, TILE, lambda number, part: part), scene)
    assert np.array_equal(drawn_in_tiles(scene, 2 * SIDE, lambda number, part: 255 - part), 255 - scene)


def test_each_tile_begins_with_what_its_neighbours_drew() -> None:
    seen: list[np.ndarray] = []

    def white(number: int, part: np.ndarray) -> np.ndarray:
        seen.append(part)
        return np.full_like(part, 255)

    made = drawn_in_tiles(np.zeros((TILE, SIDE, 3), np.uint8), TILE, white)
    assert not seen[0].any()
    assert (np.diff(seen[1][0, :16, 0].astype(int)) < 0).all()  # less and less of them
    assert seen[1][0, 0, 0] > 240
    assert not seen[1][:, 16:].any()
    assert (made == 255).all()


def test_a_cancel_ends_it() -> None:
    def stop(number: int, part: np.ndarray) -> np.ndarray:
        raise Cancelled

    with pytest.raises(Cancelled):
        drawn_in_tiles(a_scene(), TILE, stop)

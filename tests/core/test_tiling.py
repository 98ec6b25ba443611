"""Tiles of one size cover a picture and overlap their neighbours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.core.latent_modes import LATENT_MODES, latent_mode
from app.core.tiling import overlap_of, tiles_over


@given(st.integers(64, 1200), st.integers(64, 1200), st.sampled_from([64, 128, 256, 512]))
def test_all_is_covered_and_neighbours_overlap(width: int, height: int, tile: int) -> None:
    covered = np.zeros((height, width), np.int32)
    boxes = tiles_over((width, height), tile)
    for left, top, right, bottom in boxes:
        assert (right - left, bottom - top) == (min(tile, width), min(tile, height))
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    for sides in ({(left, right) for left, _, right, _ in boxes}, {(top, bottom) for _, top, _, bottom in boxes}):
        starts = sorted(sides)
        assert all(before[1] - after[0] >= overlap_of(tile) - 1 for before, after in pairwise(starts))


def test_the_names_of_latent_modes() -> None:
    for name in ("Latent (nearest-exact)", "latent-nearest-exact", "LATENT nearest exact", "latent_nearest_exact"):
        assert latent_mode(name) == "Latent (nearest-exact)"
    assert latent_mode("latent") == "Latent"
    assert latent_mode("lanczos") is None
    assert latent_mode("") is None
    assert all(latent_mode(name) == name for name in LATENT_MODES)

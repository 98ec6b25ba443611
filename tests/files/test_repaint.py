"""Masks, what fills them, and pictures that grow."""

from __future__ import annotations

import numpy as np
import pytest

from app.core.inputs import Extend
from app.files.repaint import blurred, extended, filled, painted_bounds


def a_picture(height=60, width=80):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2, columns * 2, (rows + columns) % 256], axis=-1).astype(np.uint8)


def a_mask(height=60, width=80):
    mask = np.zeros((height, width), np.uint8)
    mask[20:40, 30:50] = 255
    return mask


def test_the_bounds_are_those_of_what_is_white():
    assert painted_bounds(a_mask()) == (30, 20, 50, 40)
    assert painted_bounds(np.zeros((8, 8), np.uint8)) is None
    assert painted_bounds(np.full((8, 9), 127, np.uint8)) is None
    assert painted_bounds(np.full((8, 9), 128, np.uint8)) == (0, 0, 9, 8)


def test_a_blur_softens_the_edges_and_zero_changes_nothing():
    soft = blurred(a_mask(), 3)
    assert np.array_equal(blurred(a_mask(), 0), a_mask())
    assert 0 < soft[30, 28] < 128 < soft[30, 32] < 255
    assert soft[0, 0] == 0


@pytest.mark.parametrize("fill", ["blur", "noise"])
def test_a_fill_changes_the_masked_part_only(fill):
    picture = a_picture()
    made = filled(picture, a_mask(), fill)
    outside = a_mask() == 0
    assert np.array_equal(made[outside], picture[outside])
    assert not np.array_equal(made, picture)
    assert np.array_equal(made, filled(picture, a_mask(), fill))
    assert np.array_equal(filled(picture, a_mask(), "original"), picture)


def test_blur_takes_the_colours_around_and_nothing_of_the_masked_part():
    one, two = a_picture(), a_picture()
    two[20:40, 30:50] = 255  # what was there does not count
    made = filled(one, a_mask(), "blur")
    assert np.array_equal(made[25:35, 35:45], filled(two, a_mask(), "blur")[25:35, 35:45])
    inside = made[20:40, 30:50].astype(int)
    assert np.abs(inside - a_picture()[20:40, 30:50].astype(int)).mean() < 25  # of 255: the gradient goes on
    everything = filled(one, np.full((60, 80), 255, np.uint8), "blur")
    assert np.ptp(everything) == 0  # nothing is known


def test_an_extension_keeps_the_picture_and_continues_its_edges():
    picture = a_picture()
    larger, mask = extended(picture, Extend(left=16, bottom=32), 5)
    assert larger.shape == (92, 96, 3)
    assert mask.shape == (92, 96)
    assert np.array_equal(larger[:60, 16:], picture)
    beside = larger[10:50, :16].astype(float).mean(axis=1)
    assert np.abs(beside - picture[10:50, 0]).max() < 24  # but for the noise
    assert (mask[:, :16] == 255).all()
    assert (mask[60:] == 255).all()
    assert (mask[:40, 40:] == 0).all()  # far from what is new
    assert (np.diff(mask[10, 16:40].astype(int)) <= 0).all()  # ever darker
    assert 200 < mask[10, 16] < 255


def test_a_tiny_picture_keeps_a_middle_of_its_own():
    _, mask = extended(a_picture(8, 8), Extend(left=8, right=8), 5)
    assert (mask[:, 10:14] == 0).all()

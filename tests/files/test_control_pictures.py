"""Control pictures that are arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from app.files.control_pictures import control_picture, lineart


def a_drawing(side: int = 512) -> np.ndarray:
    """A dark line on white, and a grey area."""
    picture = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(picture)
    pen.line((side // 8, side // 4, side - side // 8, side // 4), fill=(20, 30, 60), width=max(2, side // 128))
    pen.rectangle((side // 4, side // 2, side * 3 // 4, side * 7 // 8), fill=(200, 200, 200))
    return np.asarray(picture)


def test_lines_are_white_where_the_drawing_is_dark() -> None:
    made = lineart(a_drawing())
    assert made.shape == (512, 512, 3)
    assert (made[..., 0] == made[..., 2]).all()
    assert made[128, 100:400].min() > 120
    assert made[:100].max() == 0
    assert made[170:230].max() == 0
    assert made[350, 250].max() == pytest.approx(0, abs=1)  # inside of an area there is no line


def test_lines_are_those_of_the_field_s_formula() -> None:
    """`lineart_standard`: what a Gaussian of 6 pixels is brighter by, in its least channel, by the median of it."""
    pixels = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    wide = pixels.astype(np.float64)
    blurred = np.stack([ndimage.gaussian_filter(wide[..., channel], 6, mode="mirror") for channel in range(3)], axis=2)
    darker = (blurred - wide).min(axis=2).clip(0, 255)
    wanted = (darker / max(16, np.median(darker[darker > 8])) * 127).clip(0, 255)
    assert np.abs(lineart(pixels)[..., 1] - wanted).max() <= 1.01


def test_lines_follow_the_size_and_an_even_picture_has_none() -> None:
    small, large = lineart(a_drawing(256)), lineart(a_drawing(1024))
    halved = np.asarray(Image.fromarray(large).resize((256, 256), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - halved).mean() < 4
    assert not lineart(np.full((64, 64, 3), 200, np.uint8)).any()
    assert control_picture("lineart", a_drawing(64)).any()

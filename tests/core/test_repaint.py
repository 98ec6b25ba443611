"""Which part of a picture is drawn at which size, and what a request may say about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.catalog import ModelOptions, ModelSpec
from app.core.inputs import Extend
from app.core.repaint import drawn_box, drawn_size, padded, whole_extension
from app.core.request import GenerationInput
from app.core.resolve import resolve
from app.errors import InvalidRequest


def spec(**options):
    limits = {"min_width": 64, "min_height": 64, "max_width": 512, "max_height": 512, "multiple_of": 16}
    more = {"limits": limits, "defaults": {"width": 256, "height": 256}} | options
    return ModelSpec(
        id="m", name="m", repo="r", description="", source="local", options=ModelOptions.model_validate(more)
    )


def asked(pictures=("image", "mask"), model=None, extend=None, **settings):
    inputs = [{"role": role, "source": "x"} for role in pictures]
    if extend is not None:
        inputs[0]["extend"] = extend
    body = GenerationInput.model_validate({"prompt": "a boat", "inputs": inputs, "settings": settings})
    return resolve(body, model or spec(), prompt_max_chars=500, drawn_seed=1)


sides = st.integers(1, 400)


@given(sides, sides, st.tuples(*[st.floats(0, 1)] * 4), st.integers(0, 100))
def test_the_drawn_part_holds_the_mask_and_lies_in_the_picture(width, height, edges, padding):
    left, right = sorted(round(edge * width) for edge in edges[:2])
    top, bottom = sorted(round(edge * height) for edge in edges[2:])
    bounds = (min(left, width - 1), min(top, height - 1), max(right, left + 1), max(bottom, top + 1))
    bounds = (bounds[0], bounds[1], min(bounds[2], width), min(bounds[3], height))
    drawn = drawn_size(bounds, (width, height), padding, (None, None), spec())
    box = drawn_box(bounds, (width, height), padding, drawn)
    around = padded(bounds, (width, height), padding)
    assert 0 <= box[0] <= around[0] < around[2] <= box[2] <= width
    assert 0 <= box[1] <= around[1] < around[3] <= box[3] <= height


def test_a_small_part_is_drawn_with_all_the_pixels_of_the_model():
    assert drawn_size((100, 100, 150, 150), (1000, 1000), 25, (None, None), spec()) == (256, 256)
    assert drawn_size((100, 100, 250, 150), (1000, 1000), 25, (None, None), spec()) == (368, 176)  # 200 × 100
    assert drawn_size((100, 100, 150, 150), (1000, 1000), 25, (512, 256), spec()) == (512, 256)
    unstated = spec(defaults={})
    assert drawn_size((100, 100, 180, 180), (1000, 1000), 0, (None, None), unstated) == (80, 80)
    assert drawn_box((100, 100, 150, 150), (1000, 1000), 25, (512, 256)) == (25, 75, 225, 175)
    assert drawn_box((0, 0, 50, 50), (60, 1000), 25, (512, 256)) == (0, 0, 60, 75)  # no room for that shape


def test_an_extension_is_brought_to_a_size_that_the_model_draws():
    own = (200, 256)
    assert whole_extension(own, Extend(right=56), spec()) == Extend(right=56)
    assert whole_extension(own, Extend(right=50), spec()) == Extend(right=56)
    assert whole_extension(own, Extend(left=50), spec()) == Extend(left=56)
    assert whole_extension(own, Extend(top=10), spec()) == Extend(top=16, right=8)
    with pytest.raises(ValueError, match=r"would be 608 × 256.*m draws 64 to 512 × 64 to 512 pixels.*smaller picture"):
        whole_extension(own, Extend(left=200, right=200), spec())
    few = spec(limits={"max_pixels": 256 * 256, "multiple_of": 8})
    with pytest.raises(ValueError, match="at most 65,536 in all"):
        whole_extension(own, Extend(right=100), few)


def test_the_settings_of_a_mask_are_for_requests_with_one():
    made = asked(inpaint_area="masked", mask_blur=4, mask_invert=True, inpaint_fill="blur", strength=0.8).request
    assert (made.task, made.inpaint_area, made.inpaint_padding, made.mask_blur) == ("inpaint", "masked", 32, 4)
    assert (made.mask_invert, made.inpaint_fill) == (True, "blur")
    plain = asked(("image",), mask_blur=4)
    assert plain.request.mask_blur is None
    assert plain.warnings == ("mask_blur not used: there is no mask.",)


def test_what_has_no_effect_is_said():
    whole = asked(inpaint_padding=8)
    assert whole.request.inpaint_padding is None
    assert whole.warnings == ("inpaint_padding was not used: it is for inpaint_area masked.",)
    assert "inpaint_fill has no effect with strength 1" in asked(inpaint_fill="noise").warnings[0]
    assert asked(inpaint_fill="noise", strength=0.9).warnings == ()


def test_an_extension_is_inpainting_and_leaves_a_little_of_the_edges():
    made = asked(("image",), extend={"right": 64}).request
    assert (made.task, made.strength) == ("inpaint", 0.95)
    assert asked(("image",), extend={"right": 64}, strength=1.0).request.strength == 1.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pictures": ("image", "mask")}, "may hold nothing else beside a picture to extend"),
        ({"width": 128}, "may hold no width or height"),
        ({"model": spec(media="video")}, "m cannot repaint in part here"),
    ],
)
def test_what_an_extension_does_not_go_with_is_refused(change, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        asked(**{"pictures": ("image",), "extend": {"left": 16}} | change)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"role": "image", "source": "x", "extend": {}}, "extends no side"),
        ({"role": "mask", "source": "x", "extend": {"left": 1}}, "is for a picture of role image"),
        ({"role": "image", "source": "x", "extend": {"left": -1}}, "greater than or equal to 0"),
    ],
)
def test_extensions_are_read_strictly(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        GenerationInput.model_validate({"prompt": "x", "inputs": [given]})

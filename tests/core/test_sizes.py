"""The size at which an input picture is used: requested sizes win, and every result is valid for the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.catalog_lines import parse_model_line
from app.core.sizes import nearest_size, working_size

SPEC = parse_model_line(
    'm;r;d;local;false;{"defaults": {"width": 512, "height": 512},'
    ' "limits": {"min_width": 128, "min_height": 128, "max_width": 1024, "max_height": 1024, "multiple_of": 32}}'
)
BARE = parse_model_line("m;r;d;local;false")
sides = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("own", "asked", "used"),
    [
        ((512, 512), (None, None), (512, 512)),
        ((300, 200), (None, None), (288, 192)),  # the nearest multiples
        ((1024, 1024), (None, None), (512, 512)),  # no more pixels than the model draws by itself
        ((4000, 1000), (None, None), (1024, 256)),  # … in its own shape
        ((640, 480), (256, 512), (256, 512)),
        ((640, 480), (320, None), (320, 256)),
        ((640, 480), (None, 960), (1024, 960)),  # the other side follows, up to the limit
        ((10, 10), (None, None), (128, 128)),
        ((9000, 90), (None, None), (1024, 128)),
    ],
)
def test_the_rule(own, asked, used) -> None:
    assert working_size(own, asked, SPEC) == used


def test_a_model_without_a_size_of_its_own_takes_up_to_a_megapixel() -> None:
    assert working_size((2048, 2048), (None, None), BARE) == (1024, 1024)
    assert working_size((800, 600), (None, None), BARE) == (800, 608)


@given(st.tuples(sides, sides), st.sampled_from([None, 128, 512]))
def test_it_keeps_within_the_pixels_that_the_server_allows(own, width) -> None:
    limits = SPEC.limits.model_copy(update={"max_pixels": 100_000})
    bounded = SPEC.model_copy(update={"options": SPEC.options.model_copy(update={"limits": limits})})
    used = working_size(own, (width, None), bounded)
    assert used[0] * used[1] <= 100_000


@given(st.tuples(sides, sides), st.sampled_from([None, 128, 512, 1024]), st.sampled_from([None, 128, 768]))
def test_the_model_takes_it_whatever_comes(own, width, height) -> None:
    for spec in (SPEC, BARE):
        for side, asked in zip(working_size(own, (width, height), spec), (width, height), strict=True):
            limits = spec.limits
            assert side == asked or (limits.min_width <= side <= limits.max_width and side % limits.multiple_of == 0)


@pytest.mark.parametrize(
    ("wanted", "drawn"),
    [
        ((512, 512), (512, 512)),
        ((500, 520), (512, 512)),
        ((2048, 2048), (1024, 1024)),
        ((2048, 1024), (1024, 512)),  # in its own shape
        ((64, 128), (128, 256)),
        ((1, 20_000), (128, 1024)),  # as near as the limits allow
    ],
)
def test_the_nearest_size_that_the_model_can_draw(wanted, drawn) -> None:
    assert nearest_size(wanted, SPEC) == drawn


@given(st.tuples(sides, sides), st.sampled_from([None, 100_000, 1_000_000]))
def test_the_nearest_size_is_always_one_of_the_models(wanted, pixels) -> None:
    limits = SPEC.limits.model_copy(update={"max_pixels": pixels})
    bounded = SPEC.model_copy(update={"options": SPEC.options.model_copy(update={"limits": limits})})
    drawn = nearest_size(wanted, bounded)
    assert all(128 <= side <= 1024 and side % 32 == 0 for side in drawn)
    assert pixels is None or drawn[0] * drawn[1] <= pixels
    if wanted == drawn:
        assert nearest_size(drawn, bounded) == drawn

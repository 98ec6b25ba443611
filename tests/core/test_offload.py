"""The offload plan chosen for an amount of free memory."""

from __future__ import annotations

import pytest

from app.core.offload import PLANS, WeightSizes, choose_plan, needs, working_bytes

GB = 1_000_000_000
FLUX = WeightSizes(34 * GB, 24 * GB, 2 * GB, GB // 4)  # 16 bit: transformer 24, T5 9.5
WORKING = working_bytes(1024, 1024, 2)
NEEDED = needs(FLUX, WORKING)


def test_the_estimate_is_weights_with_a_margin_and_room_to_draw() -> None:
    assert WORKING == 1024 * 1024 * 1024 * 2
    assert dict(NEEDED) == {
        "none": int(34 * GB * 1.05) + WORKING,
        "model": int(24 * GB * 1.05) + WORKING,
        "group": int(2 * GB * 1.05) + WORKING,
        "sequential": int(GB // 4 * 1.05) + WORKING,
    }


def test_a_small_picture_takes_a_gigabyte_all_the_same() -> None:
    assert working_bytes(64, 64, 2) == GB
    assert working_bytes(2048, 2048, 2) == 4 * working_bytes(1024, 1024, 2)
    assert working_bytes(1024, 1024, 4) == 2 * working_bytes(1024, 1024, 2)


@pytest.mark.parametrize(
    ("free_gb", "plan"),
    [(80, "none"), (40, "none"), (37, "model"), (28, "model"), (24, "group"), (8, "group"), (3, "sequential")],
)
def test_auto_takes_the_fastest_that_fits(free_gb, plan) -> None:
    assert choose_plan("auto", NEEDED, free_gb * GB) == plan


@pytest.mark.parametrize("plan", PLANS)
def test_the_very_byte_decides(plan) -> None:
    assert choose_plan("auto", NEEDED, NEEDED[plan]) == plan
    if plan != PLANS[-1]:
        assert choose_plan("auto", NEEDED, NEEDED[plan] - 1) == PLANS[PLANS.index(plan) + 1]


def test_when_nothing_fits_it_is_the_smallest() -> None:
    assert choose_plan("auto", NEEDED, 0) == "sequential"
    assert choose_plan("auto", NEEDED, 0, possible=("none",)) == "none"


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("free", [0, 1000 * GB])
def test_a_wish_is_a_wish(plan, free) -> None:
    assert choose_plan(plan, NEEDED, free) == plan


def test_what_a_pipeline_cannot_do_is_passed_over() -> None:
    without_order = ("none", "group", "sequential")
    assert choose_plan("auto", NEEDED, 28 * GB, without_order) == "group"
    assert choose_plan("model", NEEDED, 28 * GB, without_order) == "group"
    assert choose_plan("sequential", NEEDED, 0, ("none",)) == "none"


def test_parts_that_are_there_already_need_no_room() -> None:
    """A second FLUX that shares the first one's text encoders and VAE."""
    second = WeightSizes(24 * GB, 24 * GB, 2 * GB, GB // 4)
    assert choose_plan("auto", needs(second, WORKING), 30 * GB) == "none"

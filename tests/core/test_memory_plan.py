"""The memory plan chosen for an amount of GPU memory and main memory."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.memory_parts import PartShape, PictureSize, working_bytes
from app.core.memory_plan import (
    PLANS,
    Form,
    PlannedModel,
    Room,
    choose,
    closest,
    loading_order,
    plans,
    smaller_than,
    smaller_than_killed,
)

GB = 1_000_000_000
MILLION = 1_000_000
PLENTY = 10**15


def a_part(name: str, millions: int, **changes) -> PartShape:
    numbers = millions * MILLION
    usual = {"blocks": numbers // 10, "outside": numbers // 50, "layer": numbers // 100}
    return PartShape(name, **({"numbers": numbers, "castable": numbers * 9 // 10} | usual | changes))


FLUX = PlannedModel(
    (
        a_part("transformer", 11_900, width=3072),
        a_part("text_encoder", 123),
        a_part("text_encoder_2", 4_762),
        a_part("vae", 84),
    )
)
FULL = Form("16 bit")
FLOAT8 = Form("float8", ("none", "model", "group"), {"transformer": "float8"})
SMALL = Form("float8 + text", ("none", "model", "group"), {"transformer": "float8", "text_encoder_2": "float8"})
FOUR = Form("4 bit", ("none", "model"), {"transformer": "bitsandbytes-4bit"})
FORMS = (FULL, FLOAT8, SMALL, FOUR)


def label(device_gb: float, ram_gb: float, forms=FORMS, wish="auto", model=FLUX) -> str | None:
    plan = choose(plans(model, forms, wish), Room(int(device_gb * GB), int(ram_gb * GB)))
    return plan and plan.label


@pytest.mark.parametrize(
    ("device_gb", "ram_gb", "expected"),
    [
        (80, 8, "16 bit, none"),  # loaded straight to the GPU: main memory does not have to hold it
        (30, 64, "16 bit, model"),
        (30, 24, "float8, none"),  # 16 bit would keep 34 GB in main memory
        (24, 128, "float8, model"),
        (12, 128, "4 bit, model"),
        (6, 128, "float8, group"),
        (6, 22, "float8 + text, group"),
    ],
)
def test_the_largest_form_that_fits_well_in_both_memories(device_gb, ram_gb, expected) -> None:
    assert label(device_gb, ram_gb) == expected


def test_main_memory_rules_a_plan_out() -> None:
    assert label(30, 64, [FULL]) == "16 bit, model"
    assert label(30, 32, [FULL]) is None


def test_page_locked_copies_are_left_out_where_main_memory_is_short() -> None:
    wide, short = (choose(plans(FLUX, [FULL]), Room(8 * GB, ram * GB)) for ram in (64, 36))
    assert (wide.placement, wide.pinned) == ("group", True)
    assert (short.placement, short.pinned) == ("group", False)
    assert wide.ram.highest > short.ram.highest


def test_what_a_part_takes_beside_its_weights_is_its_own() -> None:
    """The text encoder is not charged what the VAE takes to decode."""
    encoder, vae = a_part("text_encoder_2", 4_762), a_part("vae", 84)
    only = PlannedModel((encoder, vae), PictureSize(2048, 2048))
    need = next(plan for plan in plans(only, [FULL]) if plan.placement == "model").device.drawing
    assert need == int(encoder.bytes_of("full") * 1.05) + working_bytes(encoder, "full", only.size)
    assert working_bytes(encoder, "full", only.size) < 0.3 * GB < working_bytes(vae, "full", only.size)


def test_a_vae_that_decodes_in_float32_takes_twice_as_much() -> None:
    half, full = a_part("vae", 84), a_part("vae", 84, decodes_in_float32=True)
    size = PictureSize()
    widened = working_bytes(full, "full", size) - 2 * half.numbers
    assert widened == 2 * working_bytes(half, "full", size)


def test_the_frames_of_a_video_count() -> None:
    denoiser, vae = a_part("transformer", 14_000, width=5120), a_part("vae", 127, item=4)
    one, many = PictureSize(1280, 720, 1), PictureSize(1280, 720, 81)
    assert working_bytes(denoiser, "full", many) > 9 * GB > 3 * working_bytes(denoiser, "full", one)
    assert working_bytes(vae, "full", many) > 2 * working_bytes(vae, "full", one)


def test_what_is_shared_counts_where_it_is_used_as_it_is() -> None:
    beside = dataclasses.replace(FLUX, shared=("text_encoder_2",))
    alone, shared = ({plan.label: plan for plan in plans(model, FORMS)} for model in (FLUX, beside))
    assert alone["16 bit, none"].device.drawing - shared["16 bit, none"].device.drawing > 9 * GB
    for name in ("16 bit, model", "float8 + text, none"):
        assert alone[name].device == shared[name].device


def test_a_part_already_made_smaller_counts_small_while_the_next_is_loaded() -> None:
    mapped = dataclasses.replace(FLUX, parts=tuple(dataclasses.replace(part, mapped=True) for part in FLUX.parts))
    copied = dataclasses.replace(FLUX, parts=tuple(dataclasses.replace(part, mapped=False) for part in FLUX.parts))
    assert [part.name for part in loading_order(copied.parts, SMALL)][:2] == ["transformer", "text_encoder_2"]
    peaks = [
        next(plan for plan in plans(model, [SMALL]) if plan.placement == "model").ram.loading / GB
        for model in (mapped, copied)
    ]
    small = sum(part.castable for part in FLUX.parts if part.name in SMALL.kinds) / GB
    assert peaks[0] == pytest.approx(small + 0.5, abs=0.1)  # converted from mapped files
    assert peaks[1] == pytest.approx(23.8 + 0.5, abs=0.1)  # all of the denoiser in 16 bit, and nothing else yet


def test_a_cpu_has_one_memory_and_one_placement() -> None:
    cpu = dataclasses.replace(FLUX, on_gpu=False)
    assert {plan.placement for plan in plans(cpu, FORMS, "sequential")} == {"none"}
    assert label(36, 0, model=cpu) == "16 bit, none"
    assert label(26, 0, model=cpu) == "float8, none"


def test_after_memory_ran_out_only_smaller_plans_are_tried() -> None:
    candidates = plans(FLUX, FORMS)
    plan, tried = candidates[0], []
    while rest := smaller_than(plan, candidates):
        plan = rest[0]
        tried.append(plan.label)
    assert tried[0] == "16 bit, model"
    assert tried[-1] == "16 bit, sequential"
    assert [name for name in tried if name == "float8, group"] == ["float8, group"] * 2  # page-locked, and not


def test_a_lower_placement_is_tried_although_the_vae_takes_the_most_under_each() -> None:
    """The estimate of the denoiser may be the one that was too low."""
    model = PlannedModel((a_part("transformer", 100, width=64), a_part("vae", 84)), PictureSize(2048, 2048))
    candidates = plans(model, [FULL])
    group = next(plan for plan in candidates if plan.name == "16 bit, group")
    sequential = next(plan for plan in candidates if plan.name == "16 bit, sequential")
    assert group.device.highest == sequential.device.highest
    assert smaller_than(group, candidates)[0] == sequential
    assert smaller_than(sequential, candidates) == []


def test_the_closest_plan_lacks_the_least() -> None:
    found = closest(plans(FLUX, [FULL]), Room(GB // 2, 64 * GB))
    assert found.placement == "sequential"


# --- properties ---

GIGABYTES = st.integers(0, 200).map(lambda gb: gb * GB)
PARTS = st.builds(
    lambda denoiser, encoder, vae, mapped, width: (
        a_part("transformer", denoiser, mapped=mapped, width=width),
        a_part("text_encoder", encoder, mapped=mapped),
        a_part("vae", vae),
    ),
    *(st.integers(1, 40_000), st.integers(1, 12_000), st.integers(1, 500), st.booleans(), st.sampled_from([0, 3072])),
)
SIZES = st.builds(PictureSize, st.integers(8, 4096), st.integers(8, 4096), st.sampled_from([1, 81]))
MODELS = st.builds(PlannedModel, PARTS, SIZES, st.booleans(), st.sampled_from([(), ("vae",)]))
GENERAL = (
    FULL,
    Form("float8", ("none", "model", "group"), {"transformer": "float8"}),
    Form("float8 + text", ("none", "model", "group"), {"transformer": "float8", "text_encoder": "float8"}),
    Form("4 bit", ("none", "model"), {"transformer": "bitsandbytes-4bit"}),
)


@settings(max_examples=300)
@given(MODELS, GIGABYTES, GIGABYTES)
def test_the_chosen_plan_is_within_both_memories(model, device, ram) -> None:
    plan = choose(plans(model, GENERAL), Room(device, ram))
    if plan is not None:
        assert max(plan.device.loading, plan.device.drawing) <= device
        assert max(plan.ram.loading, plan.ram.drawing) <= ram


@settings(max_examples=300)
@given(MODELS, GIGABYTES, GIGABYTES, GIGABYTES, GIGABYTES)
def test_more_memory_never_chooses_a_slower_plan(model, device, ram, more_device, more_ram) -> None:
    candidates = plans(model, GENERAL)
    less = choose(candidates, Room(device, ram))
    more = choose(candidates, Room(device + more_device, ram + more_ram))
    if less is not None:
        assert more is not None
        assert candidates.index(more) <= candidates.index(less)


@settings(max_examples=200)
@given(MODELS, st.sampled_from(PLANS), GIGABYTES, GIGABYTES)
def test_a_wish_is_honoured_or_refused(model, wish, device, ram) -> None:
    plan = choose(plans(model, GENERAL, wish), Room(device, ram))
    assert plan is None or plan.placement == (wish if model.on_gpu else "none")


@settings(max_examples=200)
@given(MODELS, GIGABYTES, GIGABYTES)
def test_sixteen_bits_are_kept_where_they_fit_well(model, device, ram) -> None:
    room = Room(device, ram)
    full = choose([plan for plan in plans(model, [FULL]) if plan.placement in ("none", "model")], room)
    plan = choose(plans(model, GENERAL), room)
    if full is not None:
        assert plan == full


@given(MODELS)
def test_a_ladder_ends_and_never_climbs(model) -> None:
    candidates = plans(model, GENERAL)
    plan, steps = candidates[0], 0
    while rest := smaller_than(plan, candidates):
        before, after = (
            (each.device.highest, each.ram.highest, -PLANS.index(each.placement)) for each in (plan, rest[0])
        )
        assert after != before
        assert after[0] <= before[0]
        plan, steps = rest[0], steps + 1
        assert steps <= len(candidates)


def test_after_the_kernel_killed_a_worker_main_memory_decides() -> None:
    """A placement that saves only memory of the GPU would be killed again."""
    found = plans(FLUX, FORMS)
    killed = next(plan for plan in found if plan.name == "16 bit, group, page-locked")
    ordered = smaller_than_killed(found, {killed.name})
    allowed = [plan for plan in ordered if plan.main_memory < killed.main_memory]
    assert allowed
    assert ordered[: len(allowed)] == allowed
    assert "16 bit, group" in {plan.name for plan in allowed}
    twice = smaller_than_killed(found, {killed.name, "16 bit, group"})
    assert twice.index(next(plan for plan in twice if plan.name == "16 bit, model")) > len(found) / 2
    assert choose(twice, Room(8 * GB, PLENTY)).name.startswith("float8")


def test_the_smallest_plan_is_tried_again_for_there_is_no_other() -> None:
    found = plans(FLUX, FORMS)
    least = min(found, key=lambda plan: plan.main_memory)
    assert smaller_than_killed(found, {least.name})[0] == least
    assert smaller_than_killed(found, {"a plan of another version"}) == found


@pytest.mark.parametrize("card", [8, 12, 24, 30, 48, 80])
def test_a_death_makes_no_model_unavailable(card: int) -> None:
    """What takes less main memory may not fit the GPU: then the plan that was killed is tried again."""
    found, killed = plans(FLUX, FORMS), set()
    for ram in (8, 16, 24, 32, 64, 128):
        room = Room(card * GB, ram * GB)
        if choose(found, room) is None:
            continue
        for _ in range(6):
            plan = choose(smaller_than_killed(found, killed), room)
            assert plan is not None
            killed.add(plan.name)


def test_on_a_cpu_the_device_is_main_memory() -> None:
    found = plans(
        dataclasses.replace(FLUX, on_gpu=False), [dataclasses.replace(form, possible=PLANS) for form in FORMS]
    )
    assert smaller_than_killed(found, {"16 bit, none"})[0].name == "float8, none"

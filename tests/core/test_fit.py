"""What fits a machine: the plan that would be chosen there, or a sentence about what is lacking."""

from __future__ import annotations

import dataclasses

import pytest

from app.core.catalog import ModelSpec
from app.core.catalog_lines import build_catalog, parse_model_line
from app.core.fit import UNKNOWN_DEVICE, UNKNOWN_SIZE, DrawingDevice, Fit, PlanSettings, default_size, fit_of
from app.core.memory_parts import PictureSize
from app.core.memory_shapes import known_model, known_models

GB = 2**30
CATALOG = build_catalog({}, "demo")
CPU = DrawingDevice(24 * GB, large_models=False)
CARD = DrawingDevice(32 * GB, 12 * GB)
USUAL = PlanSettings()


def fit(model: str | ModelSpec, *devices: DrawingDevice | None, settings: PlanSettings = USUAL) -> Fit:
    spec = CATALOG.get(model) if isinstance(model, str) else model
    known = known_model(spec.repo)
    return fit_of(spec, None if known is None else known.parts, devices, settings)


def changed(name: str, **options: object) -> ModelSpec:
    spec = CATALOG.get(name)
    return spec.model_copy(update={"options": spec.options.model_copy(update=options)})


def test_each_built_in_model_that_is_downloaded_has_a_known_size() -> None:
    missing = [spec.id for spec in CATALOG if spec.source == "huggingface" and known_model(spec.repo) is None]
    assert missing == []
    assert known_model("BLACK-forest-labs/flux.1-DEV") is known_models()["FLUX.1-dev"]


def test_a_card_of_12_gb_runs_flux_block_by_block_and_sdxl_as_it_is() -> None:
    assert fit("flux-dev", CARD) == Fit("yes", "float8, group")
    assert fit("sdxl-base", CARD) == Fit("yes", "16 bit, none")


def test_an_auxiliary_model_takes_room_beside_the_model() -> None:
    spec, parts = CATALOG.get("sdxl-base"), known_model(CATALOG.get("sdxl-base").repo)
    assert parts is not None

    def beside(numbers: int, device: DrawingDevice = CARD) -> Fit:
        return fit_of(spec, parts.parts, [device], beside=numbers)

    assert beside(0) == fit("sdxl-base", CARD) == Fit("yes", "16 bit, none")
    assert beside(1_250_000_000).plan == "16 bit, model"  # a ControlNet of SDXL
    assert beside(20_000_000_000).answer == "no"
    assert "GB on the GPU" in beside(20_000_000_000).reason
    small = DrawingDevice(24 * GB)
    assert [beside(numbers, small).answer for numbers in (0, 1_250_000_000, 4_000_000_000)] == ["yes", "yes", "no"]


def test_what_is_too_large_says_what_is_needed_and_what_is_there() -> None:
    assert fit("flux2-dev", CARD).reason == "It needs 59 GB of main memory; 31 GB are free for models here."
    small = fit("qwen-image", DrawingDevice(16 * GB, 24 * GB))
    assert small.answer == "no"
    assert small.reason.endswith("With the package bitsandbytes it would fit.")
    assert fit("qwen-image", DrawingDevice(16 * GB, 24 * GB, packages=("bitsandbytes",))).plan is not None


def test_a_cpu_that_was_not_asked_for_runs_small_models_only() -> None:
    assert fit("sdxl-base", CPU) == Fit("yes", "32 bit, none")
    assert fit("flux-dev", CPU).reason == ("It needs a GPU: a CPU would take hours for its 17 billion weights.")
    asked = dataclasses.replace(CPU, large_models=True, ram_bytes=128 * GB)
    assert fit("flux-dev", asked).answer == "yes"
    assert fit("flux-dev", dataclasses.replace(asked, ram_bytes=24 * GB)).reason.startswith("It needs 48 GB of main")


def test_the_best_of_several_devices_counts_and_an_unknown_one_is_no_refusal() -> None:
    large = DrawingDevice(128 * GB, 80 * GB)
    assert fit("flux2-dev", CARD, large).answer == "yes"
    assert fit("flux2-dev", CARD, None) == UNKNOWN_DEVICE
    assert fit("flux2-dev") == UNKNOWN_DEVICE
    assert fit(parse_model_line("x;some/thing;words;huggingface;false"), large) == UNKNOWN_SIZE


def test_a_provider_s_model_needs_nothing_here() -> None:
    assert fit(parse_model_line("x;some/thing;words;replicate;false"), CPU) == Fit("yes")


@pytest.mark.parametrize(
    ("spec", "settings", "plan"),
    [
        (changed("flux-dev", layerwise_casting=True), PlanSettings(), "float8, group"),
        (changed("flux-dev", offload="group"), PlanSettings(quantization="none"), "16 bit, group"),
        (CATALOG.get("flux-dev"), PlanSettings(offload="sequential", quantization="none"), "16 bit, sequential"),
        (changed("sdxl-base", quantization="torchao-int8"), PlanSettings(), "torchao-int8, none"),
        (CATALOG.get("flux-dev"), PlanSettings(offload="none", quantization="none"), None),
    ],
)
def test_the_line_and_the_settings_decide(spec, settings, plan) -> None:
    assert fit(spec, DrawingDevice(64 * GB, 12 * GB), settings=settings).plan == plan


def test_the_size_is_the_model_s_own() -> None:
    assert default_size(CATALOG.get("wan22-5b")) == PictureSize(1280, 704, 121)
    assert default_size(CATALOG.get("sd15")) == PictureSize(512, 512)
    assert default_size(CATALOG.get("qwen-image-edit")) == PictureSize(1024, 1024)

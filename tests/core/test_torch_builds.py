"""Which build of torch a driver runs, and which GPUs a build runs on."""

from __future__ import annotations

import pytest

from app.core.torch_builds import CUDA_BUILDS, OLDEST_CAPABILITY, build_for_driver, least_driver, suitability

TODAY = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


@pytest.mark.parametrize(
    ("driver", "build"),
    [
        ("", "CPU"),
        ("470.256.02", "CPU"),
        ("525.60.13", "CUDA 12"),
        ("550.54.14", "CUDA 12"),
        ("575.57.08", "CUDA 12"),
        ("580.65.06", "CUDA 13"),
        ("595.10", "CUDA 13"),
    ],
)
def test_the_driver_decides_the_build(driver: str, build: str) -> None:
    assert build_for_driver(driver).name == build


@pytest.mark.parametrize(("cuda", "driver"), [("13.0", 580), ("12.8", 525), ("99.1", 0), ("", 0)])
def test_each_cuda_has_its_oldest_driver(cuda: str, driver: int) -> None:
    assert least_driver(cuda) == driver


@pytest.mark.parametrize(
    ("capability", "architectures", "found"),
    [
        ((7, 5), TODAY, "suitable"),
        ((8, 9), TODAY, "suitable"),  # Ada runs code for 8.0 and 8.6
        ((9, 0), TODAY, "suitable"),
        ((10, 3), TODAY, "suitable"),
        ((12, 1), TODAY, "suitable"),
        ((6, 1), TODAY, "too old"),
        ((7, 0), TODAY, "too old"),
        ((11, 0), TODAY, "too new"),
        ((13, 0), TODAY, "too new"),
        ((13, 0), (*TODAY, "compute_120"), "suitable"),
        ((9, 0), ("sm_80", "sm_90a"), "suitable"),
        ((10, 3), ("sm_90", "sm_100a"), "too new"),
        ((10, 3), ("sm_90", "sm_100f"), "suitable"),
        ((6, 1), (), "suitable"),
        ((9, 4), ("gfx942", "gfx1100"), "suitable"),
    ],
)
def test_a_build_runs_on_the_gpus_it_was_compiled_for(capability, architectures, found) -> None:
    assert suitability(capability, architectures) == found


def test_the_oldest_gpu_named_in_the_documentation_is_suitable() -> None:
    assert suitability(OLDEST_CAPABILITY, TODAY) == "suitable"
    assert [build.least_driver for build in CUDA_BUILDS] == [580, 525]

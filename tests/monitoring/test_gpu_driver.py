"""The driver's report: cards with UUID and capability, no driver, and a driver that does not respond."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from app.core.device_reports import Card
from app.monitoring import gpu_driver
from app.monitoring.gpu_driver import driver_report


@pytest.fixture
def nvml(monkeypatch):
    def install(**functions: object) -> None:
        for name, function in functions.items():
            monkeypatch.setattr(pynvml, f"nvml{name}", function)

    install(
        Init=lambda: None,
        Shutdown=lambda: None,
        SystemGetDriverVersion=lambda: "580.65.06",
        DeviceGetCount=lambda: 2,
        DeviceGetHandleByIndex=lambda index: index,
        DeviceGetName=lambda handle: f"RTX {handle}",
        DeviceGetUUID=lambda handle: f"GPU-{handle}",
        DeviceGetCudaComputeCapability=lambda _: (8, 9),
        DeviceGetMemoryInfo=lambda _: SimpleNamespace(total=24_000),
    )
    return install


def fail(code: int):
    def raise_it(*_: object) -> None:
        raise pynvml.NVMLError(code)

    return raise_it


def test_the_cards_by_number_and_uuid(nvml) -> None:
    report = driver_report()
    assert report.version == "580.65.06"
    assert report.cards == (Card(0, "GPU-0", "RTX 0", (8, 9), 24_000), Card(1, "GPU-1", "RTX 1", (8, 9), 24_000))
    assert report.problem == ""


def test_a_card_that_is_lost_hides_no_other(nvml) -> None:
    nvml(DeviceGetHandleByIndex=lambda index: index if index else fail(pynvml.NVML_ERROR_GPU_IS_LOST)())
    assert [card.index for card in driver_report().cards] == [1]


def test_no_driver_is_no_problem(nvml, monkeypatch) -> None:
    monkeypatch.setattr(gpu_driver, "DRIVER_FILES", ())
    nvml(Init=fail(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert (driver_report().cards, driver_report().problem) == ((), "")


def test_a_driver_that_was_updated_without_a_restart_is_a_problem(nvml) -> None:
    nvml(Init=fail(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH))
    assert "mismatch" in driver_report().problem.lower()


def test_a_driver_whose_library_is_missing_is_a_problem(nvml, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(gpu_driver, "DRIVER_FILES", (tmp_path,))
    nvml(Init=fail(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert driver_report().problem

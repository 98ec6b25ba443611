"""GPUs by NVML, with and without a driver, and with missing figures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import NamedTuple

import pynvml
import pytest

from app.monitoring import resources
from app.monitoring.resources import Machine


class Driver:
    """Two GPUs; the second reports no load, and the `broken` one fails."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken
        self.gone: int | None = None  # the error of all calls while the driver is away

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("nvmlInit", "nvmlShutdown"):
            monkeypatch.setattr(pynvml, name, self.require)
        for name in (
            "DeviceGetCount",
            "DeviceGetHandleByIndex",
            "DeviceGetMemoryInfo",
            "DeviceGetName",
            "DeviceGetUUID",
        ):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name))
        for name in ("DeviceGetUtilizationRates", "DeviceGetTemperature"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name))

    def require(self) -> None:
        if self.gone is not None:
            raise pynvml.NVMLError(self.gone)

    def DeviceGetCount(self) -> int:
        self.require()
        return 2

    def DeviceGetHandleByIndex(self, index: int) -> int:
        if index == self.broken:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def DeviceGetMemoryInfo(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(total=24_000, used=6_000)

    def DeviceGetName(self, handle: int) -> str:
        return f"GPU {handle}"

    def DeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def DeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        if handle == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=75)

    def DeviceGetTemperature(self, *_: int) -> int:
        return 61


def test_the_readings_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    first, second = Machine().read().gpus
    assert (first.name, first.memory_bytes, first.used_bytes) == ("GPU 0", 24_000, 6_000)
    assert (first.uuid, second.uuid) == ("GPU-0", "GPU-1")
    assert (first.utilization_percent, second.utilization_percent, second.temperature_celsius) == (75, None, 61)


def test_a_gpu_that_fell_off_the_bus_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(broken=0).install(monkeypatch)
    assert [gpu.index for gpu in Machine().read().gpus] == [1]


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_UNINITIALIZED])
def test_a_driver_that_goes_away_takes_its_figures_along_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(resources, "FRESH_SECONDS", 0.0)
    driver = Driver()
    driver.install(monkeypatch)
    machine = Machine()
    assert len(machine.read().gpus) == 2
    driver.gone = code
    assert machine.read().gpus == []
    assert resources.gpu_count() == 0
    driver.gone = None
    assert len(machine.read().gpus) == 2
    assert resources.gpu_count() == 2


def test_a_driver_that_comes_later_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "FRESH_SECONDS", 0.0)
    driver = Driver()
    driver.install(monkeypatch)
    driver.gone = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    machine = Machine()
    assert machine.read().gpus == []
    driver.gone = None
    assert len(machine.read().gpus) == 2


def test_no_driver_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert Machine().read().gpus == []


def test_many_lookers_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    assert machine.read() is machine.read()
    monkeypatch.setattr(resources, "FRESH_SECONDS", 0.0)
    assert machine.read() is not machine.read()
    assert 0 < machine.read().memory_percent < 100


def test_cpu_percent_is_since_the_last_reading_by_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil's cpu_percent returns 0 at the first call of each thread; requests are served by many."""
    times = iter([(100.0, 0.0), (130.0, 10.0), (130.0, 110.0)])  # busy and idle seconds

    def cpu_times() -> Times:
        busy, idle = next(times)
        return Times(user=busy, idle=idle)

    monkeypatch.setattr(resources.psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(resources, "FRESH_SECONDS", 0.0)
    machine = Machine()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(machine.read).result().cpu_percent == 75.0
        assert other.submit(machine.read).result().cpu_percent == 0.0


class Times(NamedTuple):
    user: float
    idle: float

"""Resource usage of the machine and process: CPU, RAM, GPUs. Without torch: the API and the supervisor use it too."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import pynvml

CGROUP = Path("/sys/fs/cgroup")
FRESH_SECONDS = 1.0  # maximum age of a reading, shared by all callers


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU. Figures that its driver does not report (load or temperature of some) are None."""

    index: int
    name: str
    memory_bytes: int
    used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    uuid: str = ""


@dataclass(frozen=True)
class Reading:
    """`cpu_percent` is of all cores together, since the previous reading."""

    cpu_percent: float
    cpu_count: int
    memory_bytes: int
    available_bytes: int
    rss_bytes: int
    gpus: Sequence[Gpu]

    @property
    def memory_percent(self) -> float:
        return 100.0 * (1 - self.available_bytes / self.memory_bytes)


class Machine:
    """Reads the machine at most once a second. One per process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cpu = _cpu_seconds()
        self._read_at = float("-inf")
        self._reading: Reading | None = None

    def read(self) -> Reading:
        with self._lock:
            if self._reading is None or time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._reading, self._read_at = _read(self._cpu_percent()), time.monotonic()
            return self._reading

    def _cpu_percent(self) -> float:
        """Since the previous reading by any thread; psutil's function keeps that per thread."""
        before, self._cpu = self._cpu, _cpu_seconds()
        passed = self._cpu.total - before.total
        return 100.0 * min(1.0, max(0.0, (self._cpu.busy - before.busy) / passed)) if passed > 0 else 0.0


class _CpuSeconds(NamedTuple):
    busy: float
    total: float


def _cpu_seconds() -> _CpuSeconds:
    """Of all cores together, since boot."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # user and nice hold those
    return _CpuSeconds(total - times.idle - getattr(times, "iowait", 0.0), total)


def _read(cpu_percent: float) -> Reading:
    memory = psutil.virtual_memory()
    return Reading(
        cpu_percent=cpu_percent,
        cpu_count=psutil.cpu_count() or 1,
        memory_bytes=int(memory.total),
        available_bytes=int(memory.available),
        rss_bytes=rss_bytes(),
        gpus=list(gpus()),
    )


def ram_bytes() -> int:
    """Total main memory of this machine, or of the container."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def memory_percent() -> float:
    """Percentage of the RAM in use."""
    return float(psutil.virtual_memory().percent)


def gpu_count() -> int:
    """Number of NVIDIA GPUs that the driver reports; 0 without a driver that answers."""
    try:
        return _gpu_count()
    except pynvml.NVMLError:
        return 0


def gpus() -> Iterator[Gpu]:
    """All NVIDIA GPUs; none without a driver that answers. GPUs that do not respond are left out."""
    for index in range(gpu_count()):
        with contextlib.suppress(pynvml.NVMLError):
            yield _gpu(index)


def _gpu_count() -> int:
    """Opens the driver's library on the first call, and again after a failure: a driver may come, go and come back
    while this process lives, and one that was replaced answers only after a new start of the library."""
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    pynvml.nvmlInit()
    return int(pynvml.nvmlDeviceGetCount())


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    load = temperature = None
    with contextlib.suppress(pynvml.NVMLError):
        load = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    with contextlib.suppress(pynvml.NVMLError):
        temperature = int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    name, uuid = pynvml.nvmlDeviceGetName(handle), ""
    with contextlib.suppress(pynvml.NVMLError):
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
    return Gpu(index, str(name), int(memory.total), int(memory.used), load, temperature, uuid)


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)

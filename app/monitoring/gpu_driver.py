"""The NVIDIA driver's report: version, cards, and why it does not respond. Without torch."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import pynvml

from app.core.device_reports import Card, DriverReport

# Where a driver shows that it is installed, also when its library does not work.
DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"))
AMD_FILE = Path("/dev/kfd")
_NO_DRIVER = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)


def driver_report() -> DriverReport:
    """What NVML reports now. Never fails: a driver that does not respond is the report's `problem`."""
    amd, apple = AMD_FILE.exists(), (platform.system(), platform.machine()) == ("Darwin", "arm64")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        absent = error.value in _NO_DRIVER and not any(path.exists() for path in DRIVER_FILES)
        return DriverReport(problem="" if absent else str(error), amd=amd, apple=apple)
    try:
        cards = tuple(card for index in range(pynvml.nvmlDeviceGetCount()) if (card := _card(index)))
        return DriverReport(str(pynvml.nvmlSystemGetDriverVersion()), cards, amd=amd, apple=apple)
    except pynvml.NVMLError as error:
        return DriverReport(problem=str(error), amd=amd, apple=apple)
    finally:
        pynvml.nvmlShutdown()


def _card(index: int) -> Card | None:
    """The card; None for one that does not respond."""
    with contextlib.suppress(pynvml.NVMLError):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        name, uuid = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetUUID(handle)
        return Card(index, str(uuid), str(name), (int(major), int(minor)), int(memory.total))
    return None

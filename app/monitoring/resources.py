"""What this machine and this process use: GPUs, RAM. Never imports torch: the API and the supervisor ask too."""

from __future__ import annotations

import psutil
import pynvml


def gpu_count() -> int:
    """How many NVIDIA GPUs the driver shows; 0 without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)

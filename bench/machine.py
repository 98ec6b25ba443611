"""Description of the machine, for benchmark reports."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

from app.monitoring.resources import gpu_count


def describe_machine() -> str:
    """One line: date, processor, cores, memory, load, GPUs, Python."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {len(os.sched_getaffinity(0))} cores,"
        f" {psutil.virtual_memory().total / 2**30:.0f} GiB, {gpu_count()} GPUs, load {os.getloadavg()[0]:.1f},"
        f" Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

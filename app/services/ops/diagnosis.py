"""Diagnosis of this machine for `cyberimage doctor`: driver, cards, torch, attention kernels, memory, disk, compiler.

Each problem is a sentence that ends with what to do. torch is asked in a process of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.config import Settings
from app.core.attention import choose_kernels
from app.core.device_plan import DevicePlan, plan_devices
from app.core.device_reports import DriverReport, TorchReport
from app.core.torch_builds import suitability
from app.monitoring.gpu_driver import driver_report
from app.monitoring.torch_report import torch_report

KERNELS = ("native", "flash", "efficient", "cudnn", "xformers")
LITTLE_RAM_BYTES = 8_000_000_000  # below it no model but the built-in ones loads
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Diagnosis:
    """`ram_limit_bytes` is the container's, None without one. `kernels`: by kind, empty = works. `problems` is empty
    when nothing is to be done."""

    driver: DriverReport
    torch: TorchReport
    plan: DevicePlan
    ram_bytes: int
    available_bytes: int
    ram_limit_bytes: int | None
    disk_free_bytes: int
    compiler: str
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "problems": list(self.problems),
            "driver": {"version": self.driver.version, "problem": self.driver.problem},
            "cards": [
                {**vars(card), "suitable": not card.capability or self._suits(card.capability)}
                for card in self.driver.cards
            ],
            "torch": self.torch.as_json(),
            "workers": [
                {"device": each.device, "label": each.label, "name": each.name, "uuid": each.uuid}
                for each in self.plan.workers
            ],
            "memory": {
                "total_bytes": self.ram_bytes,
                "available_bytes": self.available_bytes,
                "limit_bytes": self.ram_limit_bytes,
            },
            "disk": {"free_bytes": self.disk_free_bytes},
            "compiler": self.compiler,
        }

    def _suits(self, capability: tuple[int, int]) -> bool:
        return suitability(capability, self.torch.architectures) == "suitable"


def diagnose(settings: Settings, environment: Mapping[str, str]) -> Diagnosis:
    """Look at this machine as `cyberimage run` would with these settings, and try the kinds of attention."""
    driver = driver_report()
    torch = torch_report(driver, environment, KERNELS, always=True)
    plan = plan_devices(environment, driver, torch, workers=settings.workers, device=settings.device)
    memory, limit = psutil.virtual_memory(), _container_limit()
    free = shutil.disk_usage(_existing(settings.model_cache_dir)).free
    compiler = shutil.which(os.environ.get("CC", "") or "gcc") or shutil.which("clang") or ""
    problems = (
        *_device_problems(settings, torch, plan),
        *_attention_problems(settings, torch, plan),
        *_memory_problems(settings, min(int(memory.total), limit or int(memory.total)), free),
    )
    return Diagnosis(
        driver=driver,
        torch=torch,
        plan=plan,
        ram_bytes=int(memory.total),
        available_bytes=int(memory.available),
        ram_limit_bytes=limit,
        disk_free_bytes=free,
        compiler=compiler,
        problems=problems,
    )


def _device_problems(settings: Settings, torch: TorchReport, plan: DevicePlan) -> Iterator[str]:
    if not torch.version and settings.workers != 0:
        yield "torch is not installed, so no local model runs. Run `make run`, or set WORKERS=0 for an API alone."
    if plan.error:
        yield plan.error
    yield from plan.notes


def _attention_problems(settings: Settings, torch: TorchReport, plan: DevicePlan) -> Iterator[str]:
    if not torch.attention or not plan.workers:
        return
    if problem := torch.attention.get("native"):
        yield f"A small attention fails on the device ({problem}). Restart this machine; if it stays, check the device."
    choice = choose_kernels(settings.attention_backend, plan.workers[0].device, torch.attention)
    if choice.error:
        yield choice.error


def _memory_problems(settings: Settings, ram: int, free: int) -> Iterator[str]:
    if ram < LITTLE_RAM_BYTES:
        yield f"There are {ram / 1e9:.0f} GB of RAM for CyberImage. Most models need 16 GB or more: add or allow more."
    if free < settings.disk_floor_bytes:
        yield (
            f"{free / 1e9:.1f} GB are free in MODEL_CACHE_DIR, less than DISK_FLOOR_BYTES. Free some space, or move it"
            " to another disk."
        )


def _container_limit() -> int | None:
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return None
    return int(limit) if limit.isdigit() else None


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder

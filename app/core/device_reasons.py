"""Sentences that say why a GPU cannot be used, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.device_reports import DriverReport, TorchReport
from app.core.torch_builds import (
    CPU_BUILD,
    Capability,
    build_for_driver,
    driver_branch,
    least_driver,
    newest_of,
    oldest_of,
    suitability,
)
from app.core.visible_devices import Candidate

_INSTALL = "Run `make run` again: it installs the build for this machine."


def reason_against_gpus(driver: DriverReport, torch: TorchReport, visible: Sequence[Candidate]) -> str:
    """Why torch can use no GPU of this machine; empty when it can, when there is none, or when all are hidden."""
    if torch.devices:
        return ""
    if driver.problem:
        return f"The NVIDIA driver does not respond ({driver.problem}). Restart this machine."
    if driver.cards:
        return _reason_against_cards(driver, torch, visible[0]) if visible else ""
    if driver.amd:
        return (
            f"This machine has an AMD GPU, for which torch {torch.version} is not built."
            " Install torch's build for ROCm into .venv."
        )
    if driver.apple:
        return f"This machine has an Apple GPU, but torch {torch.version} offers no MPS. Update macOS to 14 or newer."
    return ""


def _reason_against_cards(driver: DriverReport, torch: TorchReport, first: Candidate) -> str:
    if not torch.version:
        return f"This machine has an NVIDIA GPU ({first.name}), but torch is not installed. Run `make run` again."
    if torch.is_cpu_build:
        return (
            f"This machine has an NVIDIA GPU ({first.name}), but torch {torch.version} is built for the CPU only."
            f" {_INSTALL}"
        )
    needed = least_driver(torch.cuda)
    if driver_branch(driver.version) < needed:
        return (
            f"torch {torch.version} needs NVIDIA driver {needed} or newer, and this machine has {driver.version}."
            f" {_remedy_for_driver(driver.version)}"
        )
    if torch.problem:
        return f"torch {torch.version} cannot use the GPU ({torch.problem}). Run `cyberimage doctor`."
    return f"torch {torch.version} finds no GPU, but the driver reports {first.name}. Run `cyberimage doctor`."


def _remedy_for_driver(version: str) -> str:
    build = build_for_driver(version)
    if build is CPU_BUILD:
        return "Update the driver."
    return f"Update the driver, or run `make run` again: it installs the build for {build.name}."


def reason_against_gpu(gpu: Candidate, torch: TorchReport) -> str:
    """Why this GPU cannot run what torch was compiled for; empty when it can."""
    if gpu.capability is None or torch.hip:
        return ""
    found = suitability(gpu.capability, torch.architectures)
    if found == "suitable":
        return ""
    has = f"{gpu.described} has the compute capability {_shown(gpu.capability)}"
    if found == "too old":
        oldest = _shown(oldest_of(torch.architectures))
        return f"{has}, which is older than what torch {torch.version} supports ({oldest} and newer); not used."
    newest = _shown(newest_of(torch.architectures))
    return (
        f"{has}, which is newer than what torch {torch.version} supports (up to {newest}); not used."
        " Update CyberImage, or install a newer build of torch."
    )


def _shown(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"

"""The builds of torch that the installer chooses from, by the version of the NVIDIA driver, and which GPUs a build
runs on.

The only place for these numbers: tools/install.py, the device plan, `cyberimage doctor`, the Dockerfile's test and
docs/GPU.md read them here. Standard library only, because the installer runs before anything is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Capability = tuple[int, int]
Suitability = Literal["suitable", "too old", "too new"]

# NVIDIA's minor version compatibility: what is built for CUDA 13.x runs with any driver of this branch or a newer one.
LEAST_DRIVER = {13: 580, 12: 525, 11: 450}
OLDEST_CAPABILITY: Capability = (7, 5)  # Turing: the oldest that the builds below are compiled for in common


@dataclass(frozen=True)
class TorchBuild:
    """`requirements` is the file that pins torch's version; `locks` are the lock files with its CUDA libraries. `cuda`
    is None for the CPU build."""

    name: str
    cuda: tuple[int, int] | None
    requirements: str
    locks: tuple[str, ...]

    @property
    def least_driver(self) -> int:
        """The oldest driver branch that it runs with; 0 for the CPU build, which needs none."""
        return LEAST_DRIVER[self.cuda[0]] if self.cuda else 0


CUDA_BUILDS = (
    TorchBuild("CUDA 13", (13, 0), "requirements.txt", ("locks/torch.txt", "locks/cuda.txt")),
    TorchBuild("CUDA 12", (12, 8), "requirements-cuda12.txt", ("locks/cuda12.txt",)),
)
CPU_BUILD = TorchBuild("CPU", None, "requirements.txt", ("locks/torch.txt",))


def build_for_driver(driver: str) -> TorchBuild:
    """The newest build that the driver of this version runs; the CPU build when there is no driver ('') or it is too
    old for all."""
    branch = driver_branch(driver)
    return next((build for build in CUDA_BUILDS if branch >= build.least_driver), CPU_BUILD)


def driver_branch(driver: str) -> int:
    """`580` of `580.65.06`; 0 when there is no driver."""
    found = re.match(r"\d+", driver)
    return int(found[0]) if found else 0


def least_driver(cuda: str) -> int:
    """The oldest driver branch for a torch built for CUDA `cuda` (`13.0`); 0 for a version that is not known."""
    return LEAST_DRIVER.get(int(cuda.partition(".")[0] or 0), 0)


def suitability(capability: Capability, architectures: Iterable[str]) -> Suitability:
    """Whether a torch compiled for `architectures` (`sm_90`, `compute_120`, as torch lists them) runs on a GPU of this
    compute capability.

    Machine code (sm) runs on the same major version from its minor version on, code with the suffix `a` on exactly its
    own; intermediate code (compute) runs on everything newer. An empty list means that it is not known: suitable.
    """
    known = [_parse(name) for name in architectures]
    compiled = [(kind, version, suffix) for kind, version, suffix in known if kind]
    if not compiled:
        return "suitable"
    for kind, version, suffix in compiled:
        if kind == "compute" and capability >= version:
            return "suitable"
        if kind == "sm" and (
            capability == version if suffix == "a" else capability[0] == version[0] and capability[1] >= version[1]
        ):
            return "suitable"
    return "too old" if capability < min(version for _, version, _ in compiled) else "too new"


def oldest_of(architectures: Iterable[str]) -> Capability:
    """The oldest compute capability among `architectures`."""
    return min((version for kind, version, _ in map(_parse, architectures) if kind), default=OLDEST_CAPABILITY)


def newest_of(architectures: Iterable[str]) -> Capability:
    """The newest compute capability among `architectures`."""
    return max((version for kind, version, _ in map(_parse, architectures) if kind), default=OLDEST_CAPABILITY)


def _parse(architecture: str) -> tuple[str, Capability, str]:
    """`("sm", (12, 0), "")` of `sm_120`; the kind is empty for a name that is none of CUDA's (ROCm's gfx1100)."""
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
    return (found[1], (int(found[2]), int(found[3])), found[4]) if found else ("", (0, 0), "")

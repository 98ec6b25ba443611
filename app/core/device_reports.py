"""What the NVIDIA driver and torch report about this machine's accelerators. Data only: no driver, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.core.torch_builds import Capability


@dataclass(frozen=True)
class Card:
    """An NVIDIA GPU as NVML reports it. `index` is by PCI bus, as CUDA counts with CUDA_DEVICE_ORDER=PCI_BUS_ID."""

    index: int
    uuid: str
    name: str
    capability: Capability | None = None
    memory_bytes: int = 0


@dataclass(frozen=True)
class DriverReport:
    """NVML's report. `problem`: why the driver does not respond although it is installed. `amd`, `apple`: this machine
    has a GPU of that vendor."""

    version: str = ""
    cards: tuple[Card, ...] = ()
    problem: str = ""
    amd: bool = False
    apple: bool = False


@dataclass(frozen=True)
class TorchDevice:
    """A device that torch can use. `uuid` in NVML's notation, empty where torch does not report one."""

    name: str
    uuid: str = ""
    capability: Capability | None = None
    memory_bytes: int = 0


@dataclass(frozen=True)
class TorchReport:
    """torch's report. `version` is empty when it is not installed; `cuda`, `hip` and `xpu` are the versions that it was
    built for. `kind` is the type of `devices` in torch's words (cuda, xpu, mps), `cpu` without any.

    `attention` has an entry for each kind of attention kernel that was tried on the first device: empty when it agrees
    with native attention, else the reason why it cannot be used. `problem`: why torch did not answer.
    """

    version: str = ""
    cuda: str = ""
    hip: str = ""
    xpu: str = ""
    kind: str = "cpu"
    devices: tuple[TorchDevice, ...] = ()
    architectures: tuple[str, ...] = ()
    attention: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_cpu_build(self) -> bool:
        """Whether it was built without support for GPUs. Apple's are reported by `kind` only."""
        return not (self.cuda or self.hip or self.xpu)

    @property
    def label(self) -> str:
        """The type of device for reports: torch's word, but `rocm` for AMD GPUs, which torch calls cuda."""
        return "rocm" if self.hip and self.kind == "cuda" else self.kind

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> TorchReport:
        devices = tuple(
            TorchDevice(**{**device, "capability": tuple(device["capability"]) if device["capability"] else None})
            for device in body["devices"]
        )
        return cls(**{**body, "devices": devices, "architectures": tuple(body["architectures"])})

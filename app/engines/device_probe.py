"""`python -m app.engines.device_probe [kinds of attention]`: print torch's report about its build and devices as JSON.

A process of its own, because importing torch takes hundreds of megabytes and opens the device. See
`app.monitoring.torch_report`.
"""

from __future__ import annotations

import json
import logging
import sys

import torch

from app.core.device_reports import TorchDevice, TorchReport
from app.engines.attention_check import attention_problems


def report(attention: tuple[str, ...] = ()) -> TorchReport:
    """torch's report; the kinds of `attention` are tried on the first device, or on the CPU without any."""
    kind, problem = _kind()
    devices = _devices(kind)
    first = torch.device(kind if kind in ("cpu", "mps") else f"{kind}:0")
    return TorchReport(
        version=torch.__version__,
        cuda=torch.version.cuda or "",
        hip=torch.version.hip or "",
        xpu=getattr(torch.version, "xpu", None) or "",
        kind=kind,
        devices=devices,
        architectures=tuple(torch.cuda.get_arch_list()) if kind == "cuda" else (),
        attention=attention_problems(attention, first),
        problem=problem,
    )


def _kind() -> tuple[str, str]:
    """The type of the devices that can be used, and for `cpu` why not those that torch was built for."""
    if torch.cuda.is_available():
        return "cuda", ""
    if torch.xpu.is_available():
        return "xpu", ""
    if torch.backends.mps.is_available():
        return "mps", ""
    if torch.version.cuda is None and torch.version.hip is None:
        return "cpu", ""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return "cpu", str(error).splitlines()[0][:200]
    return "cpu", ""


def _devices(kind: str) -> tuple[TorchDevice, ...]:
    if kind == "cuda":
        return tuple(_cuda_device(index) for index in range(torch.cuda.device_count()))
    if kind == "xpu":
        return tuple(
            TorchDevice(torch.xpu.get_device_name(index), memory_bytes=_xpu_memory(index))
            for index in range(torch.xpu.device_count())
        )
    return (TorchDevice("Apple GPU"),) if kind == "mps" else ()


def _cuda_device(index: int) -> TorchDevice:
    found = torch.cuda.get_device_properties(index)
    uuid = str(getattr(found, "uuid", ""))
    if uuid and torch.version.hip is None and not uuid.startswith(("GPU-", "MIG-")):
        uuid = f"GPU-{uuid}"  # in NVML's notation
    return TorchDevice(found.name, uuid, (found.major, found.minor), int(found.total_memory))


def _xpu_memory(index: int) -> int:
    return int(torch.xpu.get_device_properties(index).total_memory)


if __name__ == "__main__":
    logging.getLogger("xformers").setLevel(logging.ERROR)
    sys.stdout.write(f"{json.dumps(report(tuple(sys.argv[1:])).as_json())}\n")

"""The device plan: which workers start on which device, with which environment, and what does not fit.

Pure: decided from the environment, the reports of the driver and of torch, and the settings WORKERS and DEVICE. The
supervisor makes it for all workers, each worker for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from app.core.device_reasons import reason_against_gpu, reason_against_gpus
from app.core.device_reports import DriverReport, TorchReport
from app.core.visible_devices import HIDDEN, Candidate, seen_by_torch, visible_devices

_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")  # torch reads either
_UNEQUAL = 2  # cards of which one has so many times the memory of another


@dataclass(frozen=True)
class WorkerPlan:
    """A worker's device, as torch names it within `environment`. `label` is the type of device in reports.

    `large_models` is False on a CPU that was not asked for, which would draw them for hours; `reason` says why no GPU
    is used although there is one.
    """

    device: str = "cpu"
    label: str = "cpu"
    name: str = ""
    uuid: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    large_models: bool = True
    reason: str = ""


@dataclass(frozen=True)
class DevicePlan:
    """`notes`: a sentence for each thing that does not fit, with what to do. `error`: why DEVICE cannot be had; then
    there are no workers."""

    workers: tuple[WorkerPlan, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def described(self) -> str:
        """For the log: `2 workers: NVIDIA H100 (cuda), NVIDIA H100 (cuda)`."""
        devices = (f"{each.name} ({each.label})" if each.name else each.label for each in self.workers)
        if not self.workers:
            return "no local workers"
        return f"{len(self.workers)} worker{'s' if len(self.workers) > 1 else ''}: {', '.join(devices)}"


def plan_devices(
    environment: Mapping[str, str],
    driver: DriverReport,
    torch: TorchReport,
    *,
    workers: str | int,
    device: str,
) -> DevicePlan:
    """The plan for `workers` ("auto" or a number) processes on `device` (a value of DEVICE)."""
    visible, notes = visible_devices(environment, driver, torch)
    hide = {visible[0].variable: HIDDEN} if visible else {}
    if device == "cpu":
        return DevicePlan(_on_cpu(workers, WorkerPlan(environment=hide)))
    reason = reason_against_gpus(driver, torch, visible)
    if reason:
        notes.append(reason)
    if device in ("mps", "xpu") and torch.kind != device:
        return DevicePlan(error=f"DEVICE={device}: torch {torch.version} has {torch.kind} here. Set DEVICE=auto.")
    if torch.kind == "mps" and not device.startswith("cuda"):
        return DevicePlan(_on_cpu(workers, WorkerPlan("mps", "mps", torch.devices[0].name)), tuple(notes))
    seen, unseen = seen_by_torch(visible, torch)
    usable = [gpu for gpu in seen if not reason_against_gpu(gpu, torch)]
    notes += [*unseen, *(reason_against_gpu(gpu, torch) for gpu in seen if gpu not in usable)]
    chosen, error = _chosen(device, seen, usable, notes)
    if error:
        return DevicePlan(error=error)
    if not chosen:
        # Its environment hides nothing, so that the worker finds the same reason.
        plan = WorkerPlan(large_models=False, reason=" ".join(notes))
        return DevicePlan(_on_cpu(workers, plan), tuple(notes))
    notes += _notes_about(chosen, workers)
    count = len(chosen) if workers == "auto" else int(workers)
    plans = [_on_gpu(chosen[index % len(chosen)], torch, environment, device) for index in range(count)]
    return DevicePlan(tuple(plans), tuple(notes))


def _chosen(
    device: str, seen: Sequence[Candidate], usable: Sequence[Candidate], notes: Sequence[str]
) -> tuple[Sequence[Candidate], str]:
    """The GPUs that `device` asks for, or why they cannot be had."""
    _, _, number = device.partition(":")
    if not device.startswith("cuda"):
        return usable, ""
    if number and seen and int(number) >= len(seen):
        return (
            (),
            f"DEVICE={device}: there are {len(seen)} GPUs here (0 to {len(seen) - 1}). Choose one, or DEVICE=auto.",
        )
    found = [gpu for gpu in seen[int(number) : int(number) + 1] if gpu in usable] if number else usable
    if found:
        return found, ""
    reason = " ".join(notes) or "no NVIDIA or AMD GPU is visible here. Set DEVICE=auto or cpu."
    return (), f"DEVICE={device}: {reason}"


def _on_cpu(workers: str | int, plan: WorkerPlan) -> tuple[WorkerPlan, ...]:
    return (plan,) * (1 if workers == "auto" else int(workers))


def _on_gpu(gpu: Candidate, torch: TorchReport, environment: Mapping[str, str], device: str) -> WorkerPlan:
    wanted = {gpu.variable: gpu.value}
    if torch.kind == "cuda" and not torch.hip:
        wanted["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's numbers, in which the values are written
        if not any(name in environment for name in _ALLOCATOR):
            wanted["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # less memory lost to fragments
    if ":" in device:
        wanted["DEVICE"] = device.partition(":")[0]  # the worker sees this one only
    return WorkerPlan(f"{torch.kind}:0", torch.label, gpu.name, gpu.uuid, wanted)


def _notes_about(chosen: Sequence[Candidate], workers: str | int) -> list[str]:
    notes: list[str] = []
    if workers != "auto" and int(workers) > len(chosen):
        notes.append(
            f"WORKERS={workers} share {len(chosen)} GPU{'s' if len(chosen) > 1 else ''}, and each loads its own copy of"
            " a model. Set WORKERS=auto for one per GPU."
        )
    sizes = [gpu.memory_bytes for gpu in chosen if gpu.memory_bytes]
    if sizes and max(sizes) > _UNEQUAL * min(sizes):
        shown = ", ".join(f"{gpu.name} with {gpu.memory_bytes / 1e9:.0f} GB" for gpu in chosen)
        notes.append(
            f"The GPUs differ in memory ({shown}), and a worker runs on each. Name those that are large enough in"
            " CUDA_VISIBLE_DEVICES."
        )
    return notes

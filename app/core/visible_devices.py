"""The GPUs that a process may use: CUDA_VISIBLE_DEVICES (and its like) against what the driver and torch report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport
from app.core.torch_builds import Capability

HIDDEN = "-1"  # a value of CUDA_VISIBLE_DEVICES that no GPU has


@dataclass(frozen=True)
class Candidate:
    """A visible GPU. `value` names it in `variable`, the variable that restricts a process to it."""

    value: str
    variable: str
    name: str
    uuid: str = ""
    capability: Capability | None = None
    memory_bytes: int = 0

    @property
    def described(self) -> str:
        return f"GPU {self.value} ({self.name})" if self.name != self.value else f"GPU {self.value}"


def visible_devices(
    environment: Mapping[str, str], driver: DriverReport, torch: TorchReport
) -> tuple[list[Candidate], list[str]]:
    """The visible GPUs in their order, and a sentence for each entry that names none."""
    variable = _variable(environment, torch)
    listed = environment.get(variable)
    if torch.hip or torch.kind == "xpu" or not driver.cards:
        entries = _entries(listed) if listed is not None else [str(index) for index in range(len(torch.devices))]
        seen = zip(entries, torch.devices, strict=False)
        return [_of_torch(entry, variable, device) for entry, device in seen], []
    cards = [_of_driver(str(card.index), variable, card) for card in driver.cards]
    if listed is None:
        return cards, []
    found: list[Candidate] = []
    for entry in _entries(listed):
        if entry == HIDDEN:
            break
        candidate = _find(entry, variable, driver.cards)
        if candidate is None:
            text = f"{variable}={listed}: this machine has no GPU {entry}; it and what follows it is ignored."
            return found, [text]
        if candidate in found:
            return [], [f"{variable}={listed} names {entry} twice, so CUDA shows no GPU at all. Name each once."]
        found.append(candidate)
    return found, []


def seen_by_torch(candidates: Sequence[Candidate], torch: TorchReport) -> tuple[list[Candidate], list[str]]:
    """Those of `candidates` that torch sees, matched by UUID or else by their order, with torch's name and capability
    where the driver has none; and a sentence about the others."""
    by_uuid = {device.uuid: device for device in torch.devices if device.uuid}
    matched = [candidate for candidate in candidates if candidate.uuid in by_uuid]
    seen = list(candidates[: len(torch.devices)]) if len(matched) < len(torch.devices) else matched
    devices = [by_uuid.get(each.uuid) or torch.devices[position] for position, each in enumerate(seen)]
    missing = [f"GPU {each.value}" for each in candidates if each not in seen]
    notes = [f"torch {torch.version} does not see {', '.join(missing)}; not used."] if missing and seen else []
    return [_completed(each, device) for each, device in zip(seen, devices, strict=True)], notes


def _variable(environment: Mapping[str, str], torch: TorchReport) -> str:
    if torch.kind == "xpu":
        return "ZE_AFFINITY_MASK"
    own = "HIP_VISIBLE_DEVICES"
    return (
        own
        if torch.hip and own in environment and "CUDA_VISIBLE_DEVICES" not in environment
        else ("CUDA_VISIBLE_DEVICES")
    )


def _entries(listed: str) -> Iterator[str]:
    return (entry.strip() for entry in listed.split(",") if entry.strip())


def _find(entry: str, variable: str, cards: Sequence[Card]) -> Candidate | None:
    """The card that `entry` names: its number, the beginning of its UUID, or a part of it (MIG), which NVML does not
    list among the cards."""
    if entry.startswith("MIG-"):
        return Candidate(entry, variable, entry, uuid=entry)
    for card in cards:
        if entry == str(card.index) or (entry.startswith("GPU-") and card.uuid.startswith(entry)):
            return _of_driver(entry, variable, card)
    return None


def _of_driver(value: str, variable: str, card: Card) -> Candidate:
    return Candidate(value, variable, card.name, card.uuid, card.capability, card.memory_bytes)


def _of_torch(value: str, variable: str, device: TorchDevice) -> Candidate:
    return Candidate(value, variable, device.name, device.uuid, device.capability, device.memory_bytes)


def _completed(candidate: Candidate, device: TorchDevice) -> Candidate:
    return replace(
        candidate,
        capability=candidate.capability or device.capability,
        memory_bytes=candidate.memory_bytes or device.memory_bytes,
    )

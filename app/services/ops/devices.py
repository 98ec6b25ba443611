"""The devices of the live local workers, and which of them are out of service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DeviceCounts:
    """`working` of `all` devices are in service."""

    all: int
    working: int

    @property
    def sentence(self) -> str:
        """The text of the check: "ok", or how many work and what to do."""
        if self.working == self.all:
            return "ok"
        return (
            f"{self.working} of {self.all} devices work; the others failed and are tested again every few minutes."
            " device_error of the workers in /status says why: look at the driver, or restart the machine"
        )


def health_by_device(workers: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Whether each device, by host and id, is in service. A device of several workers is, if it is for all of them."""
    found: dict[tuple[str, str], bool] = {}
    for worker in workers:
        if worker["device_id"]:
            key = (worker["host"], worker["device_id"])
            found[key] = found.get(key, True) and worker["device_error"] is None
    return found


def device_counts(workers: Iterable[Mapping[str, Any]]) -> DeviceCounts:
    health = health_by_device(workers)
    return DeviceCounts(len(health), sum(health.values()))

"""How the whole place stands: the queue, the workers, the models, and whether it is ready for work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.catalog import ModelSpec
from app.core.job import JobStatus
from app.services.installation import Installation
from app.services.outlook import Outlook, Speeds
from app.services.status import JobView


@dataclass(frozen=True)
class QueueOverview:
    """`waiting` is the head of the line, first served first. `speeds` are learned seconds by model and bucket."""

    counts: Mapping[JobStatus, int]
    running: Sequence[JobView]
    waiting: Sequence[JobView]
    speeds: Speeds
    workers: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class ModelState:
    """`available`: its weights are on this machine. `loaded`: a live worker holds it in memory."""

    spec: ModelSpec
    available: bool
    loaded: bool


@dataclass(frozen=True)
class Summary:
    """`images` are the `{"count", "bytes"}` of everything published."""

    counts: Mapping[JobStatus, int]
    workers: Sequence[dict[str, Any]]
    images: Mapping[str, int]
    free_bytes: int


@dataclass(frozen=True)
class Readiness:
    """`checks` says of each check "ok" or what is wrong; `ready` is whether all of them are ok."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        return all(state == "ok" for state in self.checks.values())


def queue(installation: Installation, *, limit: int = 50) -> QueueOverview:
    outlook = Outlook(installation)
    line = enumerate(outlook.waiting[:limit], start=1)
    return QueueOverview(
        counts=installation.jobs.counts(),
        running=[JobView(job, None, outlook.eta(job, None), ()) for job in outlook.running],
        waiting=[JobView(job, place, outlook.eta(job, place), ()) for place, job in line],
        speeds=outlook.speeds,
        workers=outlook.workers,
    )


def summary(installation: Installation) -> Summary:
    return Summary(
        counts=installation.jobs.counts(),
        workers=installation.workers.live(),
        images=installation.outputs.totals(),
        free_bytes=installation.images.free_bytes(),
    )


def models(installation: Installation) -> list[ModelState]:
    loaded = {model["model_id"] for worker in installation.workers.live() for model in worker["models"]}
    return [
        ModelState(spec, available=is_available(installation, spec), loaded=spec.id in loaded)
        for spec in installation.catalog
    ]


def is_available(installation: Installation, spec: ModelSpec) -> bool:
    """Whether the weights are on this machine; a remote model always is."""
    if spec.source == "local":
        return installation.settings.local_path(spec.repo).exists()
    if spec.source == "huggingface":
        snapshots = installation.settings.hub_cache / f"models--{spec.repo.replace('/', '--')}" / "snapshots"
        return any(snapshots.glob("*/model_index.json"))
    return True


def readiness(installation: Installation) -> Readiness:
    """Whether a job that is sent now will be worked on."""
    checks = {"database": "ok", "workers": "ok", "disk": "ok"}
    if not installation.workers.live():
        checks["workers"] = "no live worker; start one with: python worker.py"
    if installation.images.free_bytes() < installation.settings.disk_floor_bytes:
        checks["disk"] = "less free space than DISK_FLOOR_BYTES; delete pictures or lower the floor"
    return Readiness(checks)

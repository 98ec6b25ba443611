"""The queue and the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from app.api.schemas.jobs import JobBody
from app.core.catalog import Lane
from app.core.job import JobStatus
from app.core.response_body import ResponseBody, Time
from app.core.times import iso
from app.core.worker_capabilities import Capabilities
from app.services.jobs.eta import Speeds
from app.services.ops.stats import QueueStats
from app.store.queue.durations import LOAD


class AbilitiesBody(ResponseBody):
    """What a worker can run, and its device, as far as its driver tells."""

    models_here: list[str] = Field(description="Models whose files are on its disk, with auxiliary ones and upscalers.")
    models_loadable: list[str] = Field(description="Models that it would download first.")
    families: list[str] = Field(description="Pipeline classes of the models that are here.")
    loras: int = Field(description="How many usable files its LORAS_DIR has.")
    embeddings: int
    device_name: str
    device_bytes: int = Field(description="Memory of the device; 0 where unknown.")
    ram_bytes: int
    compute_capability: str = Field(description="Of an NVIDIA GPU, such as 9.0; else empty.")

    @classmethod
    def of(cls, can: Capabilities) -> Self:
        return cls.read(
            can,
            models_here=sorted(can.here),
            models_loadable=sorted(can.loadable),
            families=sorted(set(can.pipelines.values())),
            loras=len(can.loras),
            embeddings=len(can.embeddings),
        )


class WorkerBody(ResponseBody):
    id: str
    host: str
    pid: int
    device: str
    state: Literal["starting", "idle", "busy", "loading", "draining", "unhealthy"] = Field(
        description="starting: it imports and loads what PRELOAD says, and takes no jobs yet. unhealthy: its device"
        " failed and is out of service until it passes a test."
    )
    job_id: str | None
    models: list[dict[str, Any]]
    rss_bytes: int
    vram_bytes: int = Field(description="GPU memory of its models; 0 without a GPU, where they are in `rss_bytes`.")
    started_at: Time
    heartbeat_at: Time
    lane: Lane
    slots: int = Field(description="Jobs that it runs at a time.")
    running: int = Field(description="Jobs that it runs now; `job_id` is the oldest of them.")
    device_id: str = Field(description="The device on its host, such as `cuda:0`; empty in the remote lane.")
    device_error: str | None = Field(description="Why its device is out of service; null while it is not.")
    can_run: AbilitiesBody | None = Field(description="Null of a worker of an earlier version, which does not say.")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        times = {"started_at": iso(row["started_at"]), "heartbeat_at": iso(row["heartbeat_at"])}
        can = row.get("can_run")
        return cls.read(**{**row, **times, "can_run": can and AbilitiesBody.of(can)})


class ModelSpeed(ResponseBody):
    load_seconds: float | None
    seconds: dict[str, float] = Field(description="Per picture, by `<width>x<height>x<steps>`; 0 = the model's own.")

    @classmethod
    def by_model(cls, speeds: Speeds) -> dict[str, Self]:
        found: dict[str, Self] = {}
        for (model_id, bucket), seconds in speeds.items():
            speed = found.setdefault(model_id, cls(load_seconds=None, seconds={}))
            if bucket == LOAD:
                speed.load_seconds = round(seconds, 3)
            else:
                speed.seconds[bucket] = round(seconds, 3)
        return found


class QueueBody(ResponseBody):
    counts: dict[JobStatus, int]
    running: list[JobBody]
    waiting: list[JobBody] = Field(description="The heads of both lines, first served first.")
    models: dict[str, ModelSpeed] = Field(description="Average times, learned from finished jobs.")
    workers: list[WorkerBody]

    @classmethod
    def of(cls, overview: QueueStats) -> Self:
        return cls.read(
            counts=dict(overview.counts),
            running=[JobBody.of(view) for view in overview.running],
            waiting=[JobBody.of(view) for view in overview.waiting],
            models=ModelSpeed.by_model(overview.speeds),
            workers=[WorkerBody.of(row) for row in overview.workers],
        )

"""What the workers of a lane can run, all together: what their reports in the database say.

The disk of this process counts too where it is that of a worker: where one runs on this host, and where workers do not
say what they can run, because they are of an earlier version or none lives. An installation on one machine needs no
worker to accept a job.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.assignment import LiveWorker, Shortfall, shortfall
from app.core.catalog import Lane, ModelSpec
from app.core.needs import Needs
from app.core.worker_capabilities import Capabilities
from app.services.context import AppContext
from app.services.models.capabilities import pipeline_class_of
from app.store.queue.workers import NOT_TAKING, ready_models

DAY = 86_400.0


@dataclass(frozen=True)
class Fleet:
    """`workers` are the live ones; `gone` what those could run that were here within ABSENT_WORKERS_SECONDS, or, while
    none lives, within a day at least. `own_disk`: the disk of this process counts as that of a worker."""

    lane: Lane
    workers: Sequence[LiveWorker]
    gone: Sequence[Capabilities]
    own_disk: bool

    def shortfall(self, needs: Needs) -> Shortfall | None:
        """Why none of them can run such a job; None if one can, or if that is not known."""
        return shortfall(needs, self.workers, self.gone)

    def reports(self) -> Iterator[Capabilities]:
        """What each can run, as far as it says so."""
        yield from (worker.capabilities for worker in self.workers if worker.capabilities is not None)
        yield from self.gone

    def has_lora(self, lora_id: str) -> Capabilities | None:
        """The report of a worker that has the LoRA or may download it; of one that has its file, if there is one."""
        able = [report for report in self.reports() if report.has_lora(lora_id)]
        return min(able, key=lambda report: report.lora_family(lora_id) is None, default=None)

    def embeddings(self) -> Mapping[str, Mapping[str, int]]:
        """The widths of all embeddings by name."""
        return {name: widths for report in self.reports() for name, widths in report.embeddings.items()}

    def has_model(self, model_id: str) -> bool:
        """Whether one has the files of the model, or would download them."""
        return any(model_id in report.here or model_id in report.loadable for report in self.reports())

    def has_files(self, model_id: str) -> bool:
        """Whether one has the files of the model on its disk."""
        return any(model_id in report.here for report in self.reports())

    def has_detector(self, processor: str) -> bool:
        """Whether one has a model that makes such pictures."""
        return any(processor in report.detectors for report in self.reports())

    def pipeline_of(self, model_id: str) -> str | None:
        """The pipeline class of a model that one has."""
        found = (report.pipelines.get(model_id) for report in self.reports())
        return next((name for name in found if name is not None), None)


def fleet_of(context: AppContext, lane: Lane = "local") -> Fleet:
    """The fleet as the database knows it now."""
    rows = [row for row in context.workers.live() if row["lane"] == lane]
    workers = live_workers(context, rows)
    silent = any(worker.capabilities is None for worker in workers)
    absent = context.settings.absent_workers_seconds  # one that has gone may be back: its process is being replaced
    kept = context.capabilities.gone(absent if workers else max(absent, DAY))
    gone = [report for report in context.capabilities.reports(kept).values() if report.lane == lane]
    here = platform.node() in {worker.host for worker in workers}
    return Fleet(lane, workers, gone, own_disk=here or silent or not workers)


def live_workers(
    context: AppContext, rows: Iterable[Mapping[str, Any]], running: Mapping[str, int] | None = None
) -> list[LiveWorker]:
    """The workers of these rows. With the number of jobs that each runs, they are idle if they may take another."""
    rows = list(rows)
    reports = context.capabilities.reports({row["capabilities"] for row in rows if row["capabilities"]})
    return [
        LiveWorker(
            id=row["id"],
            host=row["host"],
            capabilities=reports.get(row["capabilities"] or ""),
            ready=frozenset(ready_models(row)),
            idle=running is not None and row["state"] not in NOT_TAKING and running.get(row["id"], 0) < row["slots"],
        )
        for row in rows
    ]


def informed(context: AppContext, fleet: Fleet, spec: ModelSpec) -> ModelSpec:
    """`spec` with the pipeline class that a worker knows of its files, where they are not here."""
    if spec.lane != "local" or spec.is_upscaler or pipeline_class_of(context, spec) is not None:
        return spec
    known = fleet.pipeline_of(spec.id)
    if known is None:
        return spec
    return spec.model_copy(update={"options": spec.options.model_copy(update={"pipeline_class": known})})

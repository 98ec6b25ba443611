"""When a job should be done: its own time plus that of the jobs ahead, shared among the live workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from app.core.job import Job, Phase
from app.services.installation import Installation
from app.store.speeds import LOAD, speed_bucket

Speeds = Mapping[tuple[str, str], float]

HEAD_OF_LINE = 200  # jobs further back count like the one that asks


class Outlook:
    """What an estimate needs to know: read when first needed, then kept for any number of jobs."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @cached_property
    def speeds(self) -> Speeds:
        return self._installation.speeds.all()

    @cached_property
    def workers(self) -> Sequence[dict[str, Any]]:
        return self._installation.workers.live()

    @cached_property
    def running(self) -> Sequence[Job]:
        return self._installation.jobs.running()

    @cached_property
    def waiting(self) -> Sequence[Job]:
        """The head of the line, first served first."""
        return self._installation.jobs.waiting(limit=HEAD_OF_LINE)

    def eta(self, job: Job, position: int | None) -> float | None:
        """Seconds until `job` is done; None when nothing like it has finished yet, or nobody is there to run it."""
        own = expected_seconds(job, self.speeds)
        if own is None:
            return None
        if position is None:
            return round(max(0.0, own * (1 - _fraction_done(job))), 1)
        if not self.workers:
            return None
        ahead = 0.0
        for other in self.running:
            seconds = expected_seconds(other, self.speeds)
            ahead += (own if seconds is None else seconds) * (1 - _fraction_done(other))
        known, unknown = self._before[min(position - 1, len(self.waiting))]
        ahead += known + own * (unknown + max(0, position - 1 - len(self.waiting)))
        return round(ahead / len(self.workers) + own, 1)

    @cached_property
    def _before(self) -> list[tuple[float, int]]:
        """For each place in line: the known seconds of the jobs before it, and how many of them are not known."""
        sums = [(0.0, 0)]
        for job in self.waiting:
            seconds = expected_seconds(job, self.speeds)
            known, unknown = sums[-1]
            sums.append((known, unknown + 1) if seconds is None else (known + seconds, unknown))
        return sums


def expected_seconds(job: Job, speeds: Speeds) -> float | None:
    """How long the job takes once its model is loaded; None when nothing like it has finished yet."""
    per_picture = speeds.get((job.request.model_id, speed_bucket(job.request)))
    if per_picture is None:
        return None
    loading = job.progress.phase in (Phase.DOWNLOADING, Phase.LOADING)
    return per_picture * job.request.num_images + (speeds.get((job.request.model_id, LOAD), 0.0) if loading else 0.0)


def _fraction_done(job: Job) -> float:
    return job.progress.percent / 100

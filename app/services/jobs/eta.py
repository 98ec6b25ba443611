"""Estimates when jobs end, by simulating each lane's queue: jobs in order, each to the worker that is free first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from app.core.assignment import LiveWorker
from app.core.catalog import Lane
from app.core.job import Job, JobStatus, Phase
from app.core.request import GenerationRequest
from app.services.context import AppContext
from app.services.models.fleet import live_workers
from app.services.models.runnable import waits_for
from app.store.queue.durations import LOAD, duration_bucket
from app.store.queue.workers import ready_models

Speeds = Mapping[tuple[str, str], float]

T = TypeVar("T")


class once(Generic[T]):
    """A property that is computed on first use: functools.cached_property without the lock that it has before Python
    3.12, one for all objects of a class, so that one thread's computation blocks all others. Threads that compute it at
    the same time get the value of the first one to end: one estimate must not see two states of the queue."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> T:
        value: T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return value  # found before this descriptor next time


FORECAST_JOBS = 200  # jobs further back are assumed to take as long as the one estimated


class EtaEstimator:
    """Estimates for any number of jobs. What they need is read from the database once, on first use."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._lines: dict[Lane, LaneForecast] = {}

    @once
    def speeds(self) -> Speeds:
        return self._context.speeds.all()

    @once
    def workers(self) -> Sequence[dict[str, Any]]:
        return self._context.workers.live()

    @once
    def running(self) -> Sequence[Job]:
        return self._context.jobs.running()

    def waits_for(self, job: Job) -> str | None:
        """What a waiting job waits for beside its turn: a worker that can run it, while none that lives can."""
        if job.status is not JobStatus.PENDING:
            return None
        return waits_for(self.line(job.lane).able, job.request)

    def line(self, lane: Lane) -> LaneForecast:
        if lane not in self._lines:
            self._lines[lane] = LaneForecast(self, lane, self._context)
        return self._lines[lane]

    def eta(self, job: Job, position: int | None) -> float | None:
        """Seconds until `job` ends; None if no similar job has finished yet, or no worker is live that can run it."""
        if self.waits_for(job) is not None:
            return None
        return self.line(job.lane).eta(job, position)

    def next_end(self) -> float | None:
        """Seconds until the first of the running jobs ends; None when unknown."""
        expected = [(job, expected_seconds(job, self.speeds)) for job in self.running]
        return min((seconds_left(job, seconds) for job, seconds in expected if seconds is not None), default=None)

    def seconds_of(self, lane: Lane, requests: Sequence[GenerationRequest]) -> float | None:
        """Seconds that the workers of `lane` take for `requests` by themselves, loading what is in no memory once; None
        if nothing like one of them has finished yet, or no worker is live."""
        line, each = self.line(lane), [seconds_for(request, self.speeds) for request in requests]
        known = [seconds for seconds in each if seconds is not None]
        if not line.slots or len(known) < len(each):
            return None
        cold = {request.model_id for request in requests} - line.warm
        loading = sum(self.speeds.get((model_id, LOAD), 0.0) for model_id in cold)
        return round((sum(known) + loading) / min(line.slots, max(len(each), 1)), 1)


class LaneForecast:
    """The queue and the workers of one lane."""

    def __init__(self, estimator: EtaEstimator, lane: Lane, context: AppContext) -> None:
        self._estimator = estimator
        self._lane = lane
        self._context = context

    @once
    def workers(self) -> Sequence[dict[str, Any]]:
        return [worker for worker in self._estimator.workers if worker["lane"] == self._lane]

    @once
    def able(self) -> Sequence[LiveWorker]:
        """The workers with what they can run."""
        return live_workers(self._context, self.workers)

    @once
    def slots(self) -> int:
        """How many jobs the lane can run at a time."""
        return sum(worker["slots"] for worker in self.workers)

    @once
    def running(self) -> Sequence[Job]:
        return [job for job in self._estimator.running if job.lane == self._lane]

    @once
    def waiting(self) -> Sequence[Job]:
        """The first jobs in the queue, next one first."""
        return self._context.jobs.waiting(limit=FORECAST_JOBS, lane=self._lane)

    def eta(self, job: Job, position: int | None) -> float | None:
        own = expected_seconds(job, self._estimator.speeds)
        if own is None or job.paused:
            return None
        if position is None:
            return round(seconds_left(job, own) + self._shared(job), 1)
        if not self.slots:
            return None
        place = min(position - 1, len(self.waiting))
        further_back = (position - 1 - place) * own / self.slots
        return round(self._starts(own)[place] + further_back + self._load_seconds(job, place) + own, 1)

    def _shared(self, job: Job) -> float:
        """Seconds for the other jobs in the same merged call; each job's measured time is only its share of the call. A
        local worker runs several jobs only when they are merged, or while one is being saved."""
        if self._lane != "local" or self._context.settings.merge_jobs == 1:
            return 0.0
        others = [other for other in self.running if other.worker_id == job.worker_id and other.id != job.id]
        return sum(seconds_left(other, expected_seconds(other, self._estimator.speeds) or 0.0) for other in others)

    def _starts(self, unknown: float) -> Sequence[float]:
        """For each place in the queue, and the one after the last: seconds until a worker is free for it.

        `unknown` is the assumed duration of jobs for which no similar job has finished yet.
        """
        if unknown not in self._starts_by_unknown:
            speeds = self._estimator.speeds
            free_in = [0.0] * self.slots  # a heap, by slot
            for job in self.running:
                left = seconds_left(job, expected_seconds(job, speeds) or unknown)
                heapq.heapreplace(free_in, free_in[0] + left)
            starts = []
            for place, job in enumerate(self.waiting):
                starts.append(free_in[0])
                seconds = expected_seconds(job, speeds) or unknown
                heapq.heapreplace(free_in, free_in[0] + self._load_seconds(job, place) + seconds)
            self._starts_by_unknown[unknown] = [*starts, free_in[0]]
        return self._starts_by_unknown[unknown]

    def _load_seconds(self, job: Job, place: int) -> float:
        """Seconds for loading the job's model, if no worker will have it in memory when the job at `place` starts."""
        model_id = job.request.model_id
        if model_id in self.warm or self._first_places.get(model_id, place) < place:
            return 0.0
        return self._estimator.speeds.get((model_id, LOAD), 0.0)

    @once
    def _starts_by_unknown(self) -> dict[float, Sequence[float]]:
        return {}

    @once
    def warm(self) -> frozenset[str]:
        resident = {model_id for worker in self.workers for model_id in ready_models(worker)}
        return frozenset(resident | {job.request.model_id for job in self.running})

    @once
    def _first_places(self) -> Mapping[str, int]:
        """The first place in the queue of each model."""
        return {job.request.model_id: place for place, job in reversed(list(enumerate(self.waiting)))}


def seconds_left(job: Job, seconds: float) -> float:
    """The remaining part of `seconds`, by the job's progress."""
    return max(0.0, seconds * (1 - job.progress.percent / 100))


def expected_seconds(job: Job, speeds: Speeds) -> float | None:
    """How long the job takes once its model is loaded; None if no similar job has finished yet."""
    seconds = seconds_for(job.request, speeds)
    if seconds is None:
        return None
    loading = job.progress.phase in (Phase.DOWNLOADING, Phase.LOADING)
    return seconds + (speeds.get((job.request.model_id, LOAD), 0.0) if loading else 0.0)


def seconds_for(request: GenerationRequest, speeds: Speeds) -> float | None:
    """How long its pictures take, once its model is loaded; None if no similar job has finished yet."""
    per_picture = speeds.get((request.model_id, duration_bucket(request)))
    return None if per_picture is None else per_picture * request.num_images

"""Simulation of workers that cannot all run the same jobs, by the functions of `core.assignment` and `core.scheduling`.

Time passes in seconds, and each free worker looks at the queue once a second, as an idle one does. The line is kept as
the store keeps it: the first job of each class, and since when a job has been passed over. The functions can be
replaced, to see what would become of the line without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.core import assignment, scheduling
from app.core.assignment import Deference, LiveWorker, Standing
from app.core.needs import Needs
from app.core.scheduling import Candidate
from app.core.worker_capabilities import Capabilities

LOAD, DOWNLOAD = 5, 60  # seconds
BOUND = scheduling.affinity_bound(LOAD)


@dataclass
class FleetJob:
    needs: Needs
    arrives: int = 0
    seconds: int = 1
    priority: int = 0
    seq: int = 0
    overtaken_at: int | None = None
    starts: int | None = None
    ends: int | None = None
    ran_on: FleetWorker | None = None
    standing: Standing | None = None  # of the worker that took it, when it did
    overtaken_for: float = 0.0

    def candidate(self, now: int) -> Candidate:
        passed = 0.0 if self.overtaken_at is None else float(now - self.overtaken_at)
        return Candidate(str(self.seq), self.needs.model, self.priority, self.seq, self.seq, passed, self.needs.key)


@dataclass(eq=False)
class FleetWorker:
    capabilities: Capabilities
    free_at: int = 0
    loaded: str | None = None
    on_disk: set[str] = field(default_factory=set)

    @property
    def now_can(self) -> Capabilities:
        """With what it has downloaded since."""
        here = frozenset({*self.capabilities.here, *self.on_disk})
        return Capabilities(
            here=here,
            loadable=self.capabilities.loadable - here,
            tight=self.capabilities.tight,
            loras=self.capabilities.loras,
        )

    def seen(self, now: int) -> LiveWorker:
        ready = frozenset([self.loaded] if self.loaded else [])
        return LiveWorker(str(id(self)), "host", self.now_can, ready, idle=self.free_at <= now)


Patience = Callable[[Deference, float], float]
Judge = Callable[[Needs, FleetWorker, Sequence[LiveWorker]], Deference | None]


def judged(needs: Needs, worker: FleetWorker, others: Sequence[LiveWorker]) -> Deference | None:
    """As a worker judges: `worker.assignment`."""
    place = assignment.standing(needs, worker.now_can, [worker.loaded] if worker.loaded else [])
    if place is None:
        return None
    return assignment.deference(place, assignment.standings(needs, others))


@dataclass
class FleetSimulation:
    jobs: list[FleetJob]
    workers: list[FleetWorker]
    judge: Judge = judged
    patience: Patience = assignment.patience
    longest: int = 100_000
    waiting: list[FleetJob] = field(default_factory=list)

    def run(self) -> int:
        """Until every job has ended, or `longest`. Returns the time."""
        to_come = sorted(self.jobs, key=lambda job: job.arrives)
        for number, job in enumerate(to_come):
            job.seq = number
        now = 0
        while (to_come or self.waiting) and now < self.longest:
            while to_come and to_come[0].arrives <= now:
                self.waiting.append(to_come.pop(0))
            for worker in self.workers:
                if worker.free_at <= now and self.waiting:
                    self._serve(worker, now)
            now += 1
        return now

    def _serve(self, worker: FleetWorker, now: int) -> None:
        heads: dict[str, FleetJob] = {}
        for job in sorted(self.waiting, key=lambda job: job.candidate(now).place):
            heads.setdefault(job.needs.key or job.needs.model, job)
        by_id = {str(job.seq): job for job in heads.values()}
        others = [other.seen(now) for other in self.workers if other is not worker]

        def seconds(candidate: Candidate) -> float | None:
            found = self.judge(by_id[candidate.job_id].needs, worker, others)
            return None if found is None else self.patience(found, BOUND)

        found = scheduling.select(
            [job.candidate(now) for job in heads.values()],
            seconds,
            [worker.loaded] if worker.loaded else [],
            lambda _: BOUND,
        )
        for passed in found.overtaken:
            job = by_id[passed.job_id]
            job.overtaken_at = now if job.overtaken_at is None else job.overtaken_at
        if found.chosen is not None:
            self._take(worker, by_id[found.chosen.job_id], found.chosen, now)

    def _take(self, worker: FleetWorker, job: FleetJob, chosen: Candidate, now: int) -> None:
        job.standing = assignment.standing(job.needs, worker.now_can, [worker.loaded] if worker.loaded else [])
        job.starts, job.ran_on, job.overtaken_for = now, worker, chosen.overtaken_for
        self.waiting.remove(job)
        model, spent = job.needs.model, job.seconds
        spent += 0 if worker.loaded == model else LOAD
        if model not in worker.now_can.here:
            spent += DOWNLOAD
            worker.on_disk.add(model)
        worker.loaded = model
        job.ends = worker.free_at = now + spent

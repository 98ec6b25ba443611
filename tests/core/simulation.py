"""Event-based simulation of a queue and its workers, using the functions of `app.core.scheduling`.

It keeps the line as the store does: by priority, turn and sequence number; a head's `overtaken_at` is set when it is
first passed over. The functions can be replaced, to see what would become of the line without them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from app.core import scheduling
from app.core.scheduling import Candidate


@dataclass
class SimulatedJob:
    client: str
    model: str
    arrives: float = 0.0
    priority: int = 0
    seq: int = 0
    turn: int = 0
    overtaken_at: float | None = None
    starts: float | None = None  # when a worker took it; its model may still have to be loaded
    ends: float | None = None

    def candidate(self, now: float) -> Candidate:
        overtaken_for = 0.0 if self.overtaken_at is None else now - self.overtaken_at
        return Candidate(str(self.seq), self.model, self.priority, self.turn, self.seq, overtaken_for)


@dataclass
class Worker:
    free_at: float = 0.0
    loaded: str | None = None
    swaps: int = 0


Choose = Callable[[Candidate, Candidate | None, Collection[str], float], Candidate]
NextTurn = Callable[[int | None, int | None, int], int]


@dataclass
class Simulation:
    """`job_seconds` is the duration of each job, `swap_seconds` the time for loading a model before it."""

    jobs: list[SimulatedJob]
    workers: int = 1
    job_seconds: float = 1.0
    swap_seconds: float = 20.0
    choose: Choose = scheduling.choose
    next_turn: NextTurn = scheduling.next_turn
    waiting: list[SimulatedJob] = field(default_factory=list)
    executor: list[Worker] = field(default_factory=list)
    seq: int = 0

    def run(self) -> float:
        """Run until the queue is empty. Returns when the last job ended."""
        self.executor = [Worker() for _ in range(self.workers)]
        to_come = sorted(self.jobs, key=lambda job: job.arrives)
        while to_come or self.waiting:
            worker = min(self.executor, key=lambda one: one.free_at)
            if not self.waiting:
                worker.free_at = max(worker.free_at, to_come[0].arrives)
            while to_come and to_come[0].arrives <= worker.free_at:
                self._enqueue(to_come.pop(0))
            self._serve(worker)
        return max(worker.free_at for worker in self.executor)

    def _enqueue(self, job: SimulatedJob) -> None:
        peers = [other for other in self.waiting if other.priority == job.priority]
        own = max((other.turn for other in peers if other.client == job.client), default=None)
        serving = min((other.turn for other in peers), default=None)
        job.turn = self.next_turn(own, serving, self.seq)
        self.seq += 1
        job.seq = self.seq
        self.waiting.append(job)

    def _serve(self, worker: Worker) -> None:
        now = worker.free_at
        line = sorted(self.waiting, key=lambda job: job.candidate(now).place)
        head, warm = line[0], next((job for job in line if job.model == worker.loaded), None)
        chosen = self.choose(
            head.candidate(now),
            warm.candidate(now) if warm else None,
            [worker.loaded] if worker.loaded else [],
            scheduling.affinity_bound(self.swap_seconds),
        )
        job = next(job for job in line if job.seq == chosen.seq)
        if job is not head and head.overtaken_at is None:
            head.overtaken_at = now
        self.waiting.remove(job)
        job.starts = now
        if job.model != worker.loaded:
            worker.loaded, worker.swaps = job.model, worker.swaps + 1
            now += self.swap_seconds
        job.ends = worker.free_at = now + self.job_seconds

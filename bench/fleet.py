"""A thousand workers and forty models in simulation: the scheduling rules of the queue against first in, first out.

    python -m bench.fleet --workers 1000 --models 40

Events instead of a clock: jobs arrive at random (Poisson), for models and clients of Zipf's popularity, workers load,
draw, die and come back. What a free worker takes is decided by the functions that the queue uses, `core.scheduling` and
`core.assignment`, not by copies. For each way it is searched how many jobs a second the fleet can be given until one in
a hundred waits longer than a minute.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.core import assignment, scheduling
from app.core.assignment import Standing
from app.core.scheduling import Candidate

DRAW, LOAD, DOWNLOAD = 6.0, 25.0, 180.0  # seconds
CLIENTS = 300
LIFE, AWAY = 7200.0, 60.0  # seconds between a worker's deaths, and until it is back
LONGEST_WAIT = 60.0  # seconds that one in a hundred may wait
BOUND = scheduling.affinity_bound(LOAD)


@dataclass(eq=False)
class Job:
    """A waiting or running job. `overtaken_at`: since when it is passed over as the first of its model."""

    model: str
    client: int
    arrived: float
    turn: int
    seq: int
    overtaken_at: float | None = None
    started: float | None = None

    def candidate(self, now: float) -> Candidate:
        passed = 0.0 if self.overtaken_at is None else now - self.overtaken_at
        return Candidate(str(self.seq), self.model, 0, self.turn, self.seq, passed)


@dataclass(eq=False)
class Worker:
    """`loaded`: its one model. `life` grows with each death, so that what was planned for an earlier one is void."""

    on_disk: set[str]
    loaded: str | None = None
    job: Job | None = None
    alive: bool = True
    life: int = 0

    def standing(self, model: str) -> Standing:
        if model == self.loaded:
            return Standing.LOADED
        return Standing.ON_DISK if model in self.on_disk else Standing.TO_DOWNLOAD

    def seconds(self, model: str) -> float:
        before = {Standing.LOADED: 0.0, Standing.ON_DISK: LOAD}
        return before.get(self.standing(model), DOWNLOAD + LOAD) + DRAW


@dataclass
class Figures:
    """Of the jobs that began after the first third of the time. `waits` are seconds, by client."""

    waits: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float, clients: Sequence[int] | None = None) -> float:
        found = sorted(wait for client in (clients or list(self.waits)) for wait in self.waits.get(client, ()))
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


class Fleet:
    """`ours` decides by the queue's rules; otherwise a free worker takes the oldest job."""

    def __init__(self, workers: int, models: int, *, ours: bool, on_disk: float = 1.0, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._models = [f"model-{number}" for number in range(models)]
        self._model_weights = [1 / (rank + 1) for rank in range(models)]
        self._client_weights = [1 / (rank + 1) for rank in range(CLIENTS)]
        share = max(1, round(on_disk * models))
        self.workers = [Worker(set(self._random.sample(self._models, share))) for _ in range(workers)]
        self._ours = ours
        self._lines: dict[str, list[tuple[tuple[int, int, int], Job]]] = defaultdict(list)
        self._seq = itertools.count(1)
        self._last_turn: dict[int, int] = {}
        self._waiting_of: Counter[int] = Counter()
        self._free: dict[Worker, None] = dict.fromkeys(self.workers)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._placed: dict[str, Counter[tuple[Standing, bool]]] = {}
        self.now = 0.0
        self.figures = Figures()

    def run(self, rate: float, seconds: float) -> Figures:
        """`rate`: jobs a second."""
        self._measured_from = seconds / 3
        for model in self._models:
            self._placed[model] = Counter((worker.standing(model), True) for worker in self.workers)
        for worker in self.workers:
            self._at(self._random.expovariate(1 / LIFE), self._dies(worker))
        self._at(0.0, lambda: self._arrives(rate))
        while self._events and self._events[0][0] < seconds:
            self.now, _, event = heapq.heappop(self._events)
            event()
        for line in self._lines.values():  # what still waits has waited at least so long
            for _, job in line:
                if job.arrived >= self._measured_from:
                    self.figures.waits[job.client].append(self.now - job.arrived)
        return self.figures

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def _arrives(self, rate: float) -> None:
        self._at(self._random.expovariate(rate), lambda: self._arrives(rate))
        (model,) = self._random.choices(self._models, self._model_weights)
        (client,) = self._random.choices(range(CLIENTS), self._client_weights)
        seq = next(self._seq)
        own = self._last_turn.get(client) if self._waiting_of[client] else None
        serving = min((line[0][1].turn for line in self._lines.values() if line), default=None)
        turn = scheduling.next_turn(own, serving, seq) if self._ours else seq
        self._last_turn[client] = turn
        self._joins(Job(model, client, self.now, turn, seq))

    def _joins(self, job: Job) -> None:
        self._waiting_of[job.client] += 1
        heapq.heappush(self._lines[job.model], (job.candidate(self.now).place, job))
        if not self._free:
            return
        if not self._ours:
            self._look(next(iter(self._free)))
            return
        self._offer(job)
        for later in (assignment.TO_IDLE_SECONDS, BOUND):  # when others need no longer be waited for
            if job.started is None:
                self._at(later + 0.001, lambda: self._offer(job))

    def _offer(self, job: Job) -> None:
        """To one free worker of each standing: all of a standing judge alike."""
        if job.started is not None:
            return
        seen: dict[Standing, Worker] = {}
        for worker in self._free:
            seen.setdefault(worker.standing(job.model), worker)
            if Standing.LOADED in seen:
                break
        for standing in sorted(seen):
            if self._look(seen[standing]) and job.started is not None:
                return

    def _look(self, worker: Worker) -> bool:
        """Whether the worker, which is free, took a job."""
        job = self._choice(worker) if self._ours else self._oldest()
        if job is None:
            return False
        heapq.heappop(self._lines[job.model])
        self._waiting_of[job.client] -= 1
        seconds = worker.seconds(job.model)
        swaps = worker.loaded != job.model
        self._change(worker, free=False, job=job)
        job.started = self.now
        if job.arrived >= self._measured_from:
            self.figures.waits[job.client].append(self.now - job.arrived)
            self.figures.counts["swaps"] += swaps
        life = worker.life
        self._at(seconds, lambda: self._ends(worker, life))
        return True

    def _oldest(self) -> Job | None:
        return min((line[0] for line in self._lines.values() if line), default=(None, None))[1]

    def _choice(self, worker: Worker) -> Job | None:
        first = {job.seq: job for line in self._lines.values() if line for job in (line[0][1],)}
        heads = [job.candidate(self.now) for job in first.values()]
        loaded = [worker.loaded] if worker.loaded else []
        selection = scheduling.select(heads, lambda head: self._patience(worker, head), loaded, lambda _: BOUND)
        for passed in selection.overtaken:
            job = first[passed.seq]
            job.overtaken_at = self.now if job.overtaken_at is None else job.overtaken_at
        return None if selection.chosen is None else first[selection.chosen.seq]

    def _patience(self, worker: Worker, head: Candidate) -> float:
        own = worker.standing(head.model_id)
        if own is Standing.LOADED:
            return 0.0
        others = [place for place, number in self._placed[head.model_id].items() if number - (place == (own, True)) > 0]
        return assignment.patience(assignment.deference(own, others), BOUND)

    def _change(self, worker: Worker, *, free: bool, job: Job | None, loaded: str | None = None) -> None:
        """Keep the counts of who stands where."""
        before = [(model, worker.standing(model)) for model in self._models]
        was_free = worker in self._free
        worker.job, worker.loaded = job, job.model if job else loaded
        if job:
            worker.on_disk.add(job.model)
        if free:
            self._free[worker] = None
        else:
            self._free.pop(worker, None)
        for model, standing in before:
            counts = self._placed[model]
            counts[standing, was_free] -= 1
            counts[worker.standing(model), free] += 1

    def _ends(self, worker: Worker, life: int) -> None:
        if worker.life != life:
            return
        self.figures.counts["done"] += self.now >= self._measured_from
        self._change(worker, free=True, job=None, loaded=worker.loaded)
        self._look(worker)

    def _dies(self, worker: Worker) -> Callable[[], None]:
        def event() -> None:
            worker.life += 1
            self.figures.counts["deaths"] += 1
            job = worker.job
            self._change(worker, free=False, job=None)
            self._at(AWAY, back)
            if job is not None:
                job.started = None
                self._joins(job)

        def back() -> None:
            self._change(worker, free=True, job=None)
            self._at(self._random.expovariate(1 / LIFE), event)
            self._look(worker)

        return event


def most(workers: int, models: int, seconds: float, *, ours: bool, on_disk: float) -> tuple[float, Figures]:
    """The highest rate at which one job in a hundred waits longer than LONGEST_WAIT, to 3 %, and the figures there."""
    low, high = 0.0, workers / DRAW
    best = Figures()
    while high - low > 0.03 * high:
        rate = (low + high) / 2
        figures = Fleet(workers, models, ours=ours, on_disk=on_disk).run(rate, seconds)
        if figures.percentile(0.99) <= LONGEST_WAIT:
            low, best = rate, figures
        else:
            high = rate
    return low, best


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1200.0, help="simulated, of which the first third is left out")
    parser.add_argument("--on-disk", type=float, default=1.0, help="share of the models that is on each worker's disk")
    asked = parser.parse_args()
    print(
        f"{asked.workers} workers, {asked.models} models, of which {asked.on_disk:.0%} are on each disk;"
        f" drawing takes {DRAW:g} s, loading {LOAD:g} s"
    )
    print("| rules | jobs a second | wait p50 / p99 / longest | p99 of clients with few jobs | swaps a job | deaths |")
    print("|---|---|---|---|---|---|")
    rates = []
    for ours in (False, True):
        rate, figures = most(asked.workers, asked.models, asked.seconds, ours=ours, on_disk=asked.on_disk)
        rates.append(rate)
        few = [
            client
            for client, waits in figures.waits.items()
            if len(waits) <= statistics.median(map(len, figures.waits.values()))
        ]
        swaps = figures.counts["swaps"] / max(1, sum(map(len, figures.waits.values())))
        p50, p99, top = (figures.percentile(share) for share in (0.5, 0.99, 1.0))
        print(
            f"| {'the queue' if ours else 'first in, first out'} | {rate:.1f} | {p50:.1f} / {p99:.1f} / {top:.1f} s |"
            f" {figures.percentile(0.99, few):.1f} s | {swaps:.2f} | {figures.counts['deaths']} |",
            flush=True,
        )
    print(f"\n{rates[1] / max(rates[0], 1e-9):.1f} times the jobs at the same p99")
    return 0


if __name__ == "__main__":
    sys.exit(main())

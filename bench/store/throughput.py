"""Jobs per second: enqueue + claim + complete at synchronous=FULL, by 1 and 4 processes, with and without history."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from bench.store.contenders import CONTENDERS
from bench.store.disk import slowed

WORKERS = (1, 4)


@dataclass(frozen=True)
class Rate:
    """Medians of many short rounds. The queues alternate and are compared within each round, since disk speed and other
    load change from second to second. `of_huey` is our rate divided by huey's, and so on."""

    workers: int
    history: int
    ours: float
    huey: float
    raw: float
    of_huey: float
    of_raw: float


def measure(histories: list[int], *, seconds: float, rounds: int, sync_ms: float = 0.0) -> list[Rate]:
    """`sync_ms` is how much longer than this disk's own each sync shall take."""
    rates = []
    for history in histories:
        with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
            for contender in CONTENDERS.values():
                contender.prepare(Path(name), history)
            with slowed(sync_ms, Path(name)):
                rates += [_take_turns(Path(name), workers, history, seconds, rounds) for workers in WORKERS]
    return rates


def _take_turns(folder: Path, workers: int, history: int, seconds: float, rounds: int) -> Rate:
    with _DownloadPool(folder, workers) as executor:
        seen = [{name: executor.cycles(name, seconds) / seconds for name in CONTENDERS} for _ in range(rounds)]
    median = statistics.median
    return Rate(
        workers,
        history,
        **{name: round(median(each[name] for each in seen), 1) for name in CONTENDERS},
        of_huey=round(median(each["ours"] / max(each["huey"], 0.1) for each in seen), 2),
        of_raw=round(median(each["ours"] / max(each["raw"], 0.1) for each in seen), 2),
    )


class _DownloadPool:
    """Worker processes started in advance, so that their start is not measured."""

    def __init__(self, folder: Path, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._start, self._results = spawn.Barrier(count), spawn.Queue()
        self._orders = [spawn.Queue() for _ in range(count)]
        self._processes = [
            spawn.Process(target=_work, args=(folder, orders, self._start, self._results)) for orders in self._orders
        ]

    def __enter__(self) -> _DownloadPool:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for orders in self._orders:
            orders.put(None)
        for process in self._processes:
            process.join()

    def cycles(self, contender: str, seconds: float) -> int:
        for orders in self._orders:
            orders.put((contender, seconds))
        return sum(self._results.get() for _ in self._processes)


def _work(folder: Path, orders: Any, start: Barrier, results: Any) -> None:
    opened = {name: contender(folder) for name, contender in CONTENDERS.items()}
    while (order := orders.get()) is not None:
        name, seconds = order
        opened[name].cycle()  # warm
        start.wait()
        done, ends_at = 0, time.perf_counter() + seconds
        while time.perf_counter() < ends_at:
            opened[name].cycle()
            done += 1
        results.put(done)

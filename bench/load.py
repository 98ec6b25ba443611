"""Load test: clients that submit and poll, and many open event streams; responses by code, latency, memory over time.

python -m bench.load --minutes 5 --clients 200 --streams 500
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from app.process.os_limits import allow_many_files
from bench.load_clients import LoadClients, Tally
from bench.machine import describe_machine
from bench.memory_watch import MemoryWatch, megabytes
from bench.service import running
from tools.tiny_models.build import build

LIMIT_MS = 250.0
SETTINGS = {"num_inference_steps": 2, "width": 64, "height": 64}


def main() -> int:
    asked = _parser().parse_args()
    print(describe_machine(), flush=True)
    allow_many_files()
    with tempfile.TemporaryDirectory() as folder:
        line = f"tiny-sd15;{build('sd15', Path(folder))};Tiny;local;false"
        with running(MODEL_TINY=line, OMP_NUM_THREADS="1", QUEUE_MAX_PENDING="100000") as service:
            watch = MemoryWatch(service.process.pid, every=max(1.0, asked.minutes * 60 / 60))
            watch.start()
            bodies = [{"prompt": f"cat {n}", "model_id": "tiny-sd15", "settings": SETTINGS} for n in range(20)]
            clients = LoadClients(service.url, bodies, asked.pause)
            asyncio.run(clients.run(asked.clients, asked.streams, asked.minutes * 60))
            watch.stop()
    good = report(clients.tally, asked.minutes * 60)
    report_memory(watch)
    return 0 if good else 1


def report(tally: Tally, seconds: float) -> bool:
    """Print the results; returns whether they meet the targets."""
    answered = sum(tally.answers.values())
    failed = sum(count for status, count in tally.answers.items() if status >= 500)
    p99 = percentile(tally.status_seconds, 99) * 1000
    print("\n| what | measured | wanted |\n|---|---|---|")
    print(f"| answers | {answered:,} ({answered / seconds:.0f}/s), by code {dict(tally.answers)} | |")
    print(f"| 5xx | {failed} | 0 |")
    print(f"| broken connections | {sum(tally.broken.values())} {dict(tally.broken) or ''} | 0 |")
    for name, values in (("GET /api/status", tally.status_seconds), ("POST /api/generate", tally.submit_seconds)):
        if values:
            ms = [percentile(values, part) * 1000 for part in (50, 95, 99)]
            wanted = f"p99 ≤ {LIMIT_MS:.0f} ms" if "status" in name else ""
            print(f"| {name}, p50 / p95 / p99, ms | {ms[0]:.1f} / {ms[1]:.1f} / {ms[2]:.1f} | {wanted} |")
    print(f"| event streams open at once, most | {tally.most_streams_open} | |")
    print(f"| events heard; streams that ended by themselves | {tally.events:,}; {tally.streams_ended:,} | |")
    print(f"| jobs, by how they ended | {dict(tally.outcomes)} | |")
    return failed == 0 and not tally.broken and bool(tally.status_seconds) and p99 <= LIMIT_MS


def report_memory(watch: MemoryWatch) -> None:
    """Print memory growth by half: caches that fill grow less in the second half than in the first, leaks as much."""
    print("\n| process | after a sixth of the time | halfway | at the end | growth | in the second half |")
    print("|---|---|---|---|---|---|")
    for role, seen in watch.seen.items():
        early, half, late = seen[len(seen) // 6][1], seen[len(seen) // 2][1], seen[-1][1]
        sizes = " | ".join(megabytes(size) for size in (early, half, late))
        print(f"| {role} | {sizes} | {(late / early - 1) * 100:+.1f} % | {(late / half - 1) * 100:+.1f} % |")


def percentile(values: list[float], part: int) -> float:
    return statistics.quantiles(values, n=100)[part - 1] if len(values) > 1 else 0.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=200, help="that submit a job and poll it, again and again")
    parser.add_argument("--streams", type=int, default=500, help="open event streams on those jobs")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two polls of a client")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Many jobs that alternate between two models: does the memory of the API and of the worker stay flat?

    python -m bench.soak --jobs 5000

Growth counts from the first tenth on (the first 500 of 5,000): until then caches and pools fill.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from bench.machine import describe_machine
from bench.memory_watch import MemoryWatch, megabytes
from bench.service import running
from tools.tiny_models.build import build

LIMIT_PERCENT = 5.0
SETTINGS = {"num_inference_steps": 1, "width": 64, "height": 64}
FAMILIES = ("flux", "sd15")
AHEAD = 20  # jobs in line at a time
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


def main() -> int:
    asked = _parser().parse_args()
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lines = {f"MODEL_{name}": f"{name};{build(name, Path(folder))};Tiny;local;false" for name in FAMILIES}
        with running(**lines, OMP_NUM_THREADS="1", MAX_LOADED_MODELS=str(asked.loaded)) as service:
            watch = MemoryWatch(service.process.pid, every=3600)
            with httpx.Client(base_url=service.url, timeout=60) as client:
                outcomes = run(client, asked.jobs, asked.alternate, watch)
    print(f"\njobs, by how they ended: {dict(outcomes)}")
    return 0 if report(watch) and set(outcomes) == {"COMPLETED"} else 1


def run(client: httpx.Client, jobs: int, alternate: int, watch: MemoryWatch) -> Counter[str]:
    """Keep a short line of jobs until `jobs` have ended; look at the memory at every fiftieth part."""
    outcomes: Counter[str] = Counter()
    waiting: list[str] = []
    submitted, looked_at = 0, 0
    while sum(outcomes.values()) < jobs:
        while submitted < jobs and len(waiting) < AHEAD:
            model = FAMILIES[submitted // alternate % len(FAMILIES)]
            body = {"prompt": f"picture {submitted}", "model_id": model, "settings": SETTINGS}
            waiting.append(client.post("/api/generate", json=body).raise_for_status().json()["job_id"])
            submitted += 1
        state = client.get(f"/api/status/{waiting[0]}").raise_for_status().json()["status"]
        if state in ENDED:
            waiting.pop(0)
            outcomes[state] += 1
            if sum(outcomes.values()) - looked_at >= max(1, jobs // 50):
                looked_at = sum(outcomes.values())
                watch.look()
        else:
            time.sleep(0.02)
    return outcomes


def report(watch: MemoryWatch) -> bool:
    """Print the memory of each process; returns whether none grew by more than the limit, at the pace of the second
    half: in the first one threads begin and caches fill, and a leak goes on."""
    print("\n| process | after a tenth | halfway | at the end | growth | twice that of the second half | wanted |")
    print("|---|---|---|---|---|---|---|")
    flat = True
    for role, seen in watch.seen.items():
        early, middle, late = (seen[place][1] for place in (len(seen) // 10, len(seen) // 2, -1))
        pace = 2 * (late / middle - 1) * 100
        flat &= pace <= LIMIT_PERCENT
        sizes = " | ".join(map(megabytes, (early, middle, late)))
        growth = (late / early - 1) * 100
        print(f"| {role} | {sizes} | {growth:+.1f} % | {pace:+.1f} % | ≤ {LIMIT_PERCENT:.0f} % |")
    return flat


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--alternate", type=int, default=1, help="jobs of one model before the other's turn")
    parser.add_argument("--loaded", type=int, default=1, help="models kept in memory: 1 = each change is a swap")
    return parser


if __name__ == "__main__":
    sys.exit(main())

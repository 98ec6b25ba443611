"""This tree against another revision of it: overhead, status, an idle worker, load, each in turn in one run.

python -m bench.versions 7614e8b

The other revision is checked out beside this one and runs with the same packages. Ratios are this tree ÷ the other.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.config import ROOT
from bench.idle import idle_percent
from bench.load import percentile
from bench.load_clients import LoadClients
from bench.machine import describe_machine
from bench.overhead import submit_and_wait, timed
from bench.service import Service, running
from bench.status_route import requests_per_second
from tools.tiny_models.build import build

JOBS, WARM_UP = 80, 5
STATUS_ROUNDS, LOAD_ROUNDS = 6, 4
LOAD_CLIENTS, LOAD_STREAMS, LOAD_SECONDS = 50, 100, 20.0
LOAD_JOB = {"prompt": "cat", "model_id": "tiny-flux", "settings": {"num_inference_steps": 1, "width": 64, "height": 64}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="what to compare with, as git names it")
    revision = parser.parse_args().revision
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder, checked_out(revision, Path(folder) / "other") as other:
        line = f"tiny-flux;{build('flux', Path(folder))};Tiny FLUX;local;false"
        settings = {"MODEL_TINY": line, "OMP_NUM_THREADS": "1", "QUEUE_MAX_PENDING": "100000"}
        with running(**settings) as here, running(root=other, **settings) as there:
            print(f"\n| what | this tree | {revision} | ratio, median (least to most) |\n|---|---|---|---|")
            compare("submit → COMPLETED through HTTP, ms", job_times(here, there))
            compare("GET /api/status, requests a second", status_rates(here, there))
            compare("processor time of an idle worker, % of a core", [idle(here, there)])
            for name, pairs in load(here, there).items():
                compare(name, pairs)
    return 0


@contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """A work tree of `revision` in `folder`, removed at the end."""
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


Pairs = list[tuple[float, float]]


def compare(name: str, pairs: Pairs) -> None:
    """Print a row of a table: medians of both sides, and the ratios of the pairs."""
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [a / b for a, b in pairs if b]
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    ratio = f"**{statistics.median(ratios):.2f}**{spread}" if ratios else ""
    print(f"| {name} | {mine:.1f} | {theirs:.1f} | {ratio} |", flush=True)


def job_times(here: Service, there: Service) -> Pairs:
    with httpx.Client(base_url=here.url) as mine, httpx.Client(base_url=there.url) as theirs:
        pairs = [
            (timed(lambda: submit_and_wait(mine)), timed(lambda: submit_and_wait(theirs)))
            for _ in range(JOBS + WARM_UP)
        ]
    return pairs[WARM_UP:]


def status_rates(here: Service, there: Service) -> Pairs:
    paths = []
    for service in (here, there):
        with httpx.Client(base_url=service.url) as client:
            job_id = client.post("/api/generate", json=LOAD_JOB).json()["job_id"]
            paths.append((service.url, f"/api/status/{job_id}"))
    return [(requests_per_second(*paths[0]), requests_per_second(*paths[1])) for _ in range(STATUS_ROUNDS)]


def idle(here: Service, there: Service) -> tuple[float, float]:
    """Both workers over the same 30 seconds."""
    shares: dict[str, float] = {}

    def measure(service: Service) -> None:
        worker = httpx.get(f"{service.url}/api/queue").json()["workers"][0]["pid"]
        shares[service.url] = idle_percent(worker)

    together(lambda: measure(here), lambda: measure(there))
    return shares[here.url], shares[there.url]


def together(*calls: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def load(here: Service, there: Service) -> dict[str, Pairs]:
    """Many clients and event streams, in turn at one and at the other; each waits until its queue is empty again."""
    rows: dict[str, Pairs] = {}
    for _ in range(LOAD_ROUNDS):
        mine, theirs = under_load(here), under_load(there)
        for name in mine:
            rows.setdefault(name, []).append((mine[name], theirs[name]))
    return rows


def under_load(service: Service) -> dict[str, float]:
    clients = LoadClients(service.url, [LOAD_JOB], pause=0.1)
    asyncio.run(clients.run(LOAD_CLIENTS, LOAD_STREAMS, LOAD_SECONDS))
    tally = clients.tally
    until_idle(service)
    where = f"load of {LOAD_CLIENTS} clients, {LOAD_STREAMS} streams: "
    return {
        f"{where}answers a second": sum(tally.answers.values()) / LOAD_SECONDS,
        f"{where}5xx and broken connections": float(
            sum(tally.broken.values()) + sum(count for status, count in tally.answers.items() if status >= 500)
        ),
        f"{where}GET /api/status p50, ms": percentile(tally.status_seconds, 50) * 1000,
        f"{where}GET /api/status p99, ms": percentile(tally.status_seconds, 99) * 1000,
        f"{where}POST /api/generate p50, ms": percentile(tally.submit_seconds, 50) * 1000,
    }


def until_idle(service: Service) -> None:
    with httpx.Client(base_url=service.url) as client:
        for _ in range(600):
            counts = client.get("/api/queue").json()["counts"]
            if not counts.get("PENDING") and not counts.get("PROCESSING"):
                return
            threading.Event().wait(0.2)
    raise RuntimeError("the queue did not become empty within two minutes")


if __name__ == "__main__":
    sys.exit(main())

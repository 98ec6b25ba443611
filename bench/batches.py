"""Batches: accepting ten thousand jobs, fairness to others, a million jobs of history, and being killed.

`python -m bench.batches` runs all parts, `python -m bench.batches accept fair history killed` some of them.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import httpx
from sqlalchemy import insert

from app import create_app
from app.config import load_settings
from app.core.batches.batch import NewBatch, NewJob
from app.services.batches.view import view
from app.store.db.schema import batches
from app.store.queue.batch_changes import BatchChangeStore, Submitter
from bench.machine import describe_machine
from bench.service import running
from bench.store.history import REQUEST, Stores

JOBS = 10_000
HISTORY = 100  # batches
SAMPLES = 200
_LINE = (
    "INSERT INTO jobs (id, client_id, status, priority, turn, model_id, prompt, settings, warnings, created_at,"
    " completed_at, attempt, max_attempts, cancel_requested, phase, step, total_steps, revision, timings, batch_id,"
    " batch_place) SELECT printf('b%s%027x', substr(:batch, 29), n), 'client', 'COMPLETED', 0, n, model_id, prompt,"
    " settings, '[]', 1.7e9 + n, 1.7e9 + n, 1, 3, 0, 'done', 16, 16, 3, '{}', :batch, n - 1 FROM"
    " (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
    " SELECT n FROM numbers), (SELECT model_id, prompt, settings FROM jobs LIMIT 1)"
)

_ENDED = {
    "owner": "ip:127.0.0.1",
    "created_at": 1.7e9,
    "ended_at": 1.8e9,
    "priority": 0,
    "jobs": JOBS,
    "axes": [{"field": "settings.seed", "values": [str(number) for number in range(JOBS)]}],
    "request": {"prompt": "x"},
    "warnings": [],
    "spent": 0.0,
    "percent_told": 100,
    "ended_told": JOBS,
    "progressed_at": 1.8e9,
}


def main() -> None:
    for part in PARTS.values():
        part()


def accept() -> None:
    """POST /api/batches of 10,000 jobs at a running service, and what others wait for meanwhile."""
    body = {"prompt": "a {red|blue} boat", "seeds": JOBS // 10, "axes": [_guidance(5)], "settings": {"seed": 1}}
    with running("-m", "app.server.gunicorn_app", QUEUE_MAX_PENDING="100000") as service:
        waits: dict[str, list[float]] = {"write": [], "read": []}
        with httpx.Client(base_url=service.url, timeout=60) as client, _others(service.url, waits):
            time.sleep(1)
            began = time.perf_counter()
            answer = client.post("/api/batches", json=body)
            seconds = time.perf_counter() - began
            answer.raise_for_status()
            time.sleep(0.5)
            first = time.perf_counter()
            client.get(answer.json()["status_url"]).raise_for_status()
            status = time.perf_counter() - first
    print(f"{answer.json()['jobs']:,} jobs accepted in {seconds:.2f} s; its status then takes {status * 1000:.0f} ms")
    for what, found in waits.items():
        print(f"  {what}s of another client meanwhile: p50 {_ms(statistics.median(found))}, longest {_ms(max(found))}")


def _guidance(number: int) -> dict[str, object]:
    return {"field": "settings.guidance_scale", "values": [1 + place / 2 for place in range(number)]}


@contextmanager
def _others(url: str, waits: dict[str, list[float]]):
    """Another client that submits and reads, one after the other, on two threads."""
    ends = threading.Event()

    def ask(what: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ends.is_set():
                began = time.perf_counter()
                if what == "write":
                    client.post("/api/generate", json={"prompt": "mine"}).raise_for_status()
                else:
                    client.get("/api/queue").raise_for_status()
                waits[what].append(time.perf_counter() - began)
                time.sleep(0.02)

    threads = [threading.Thread(target=ask, args=(what,)) for what in waits]
    for thread in threads:
        thread.start()
    yield
    ends.set()
    for thread in threads:
        thread.join()


def fair() -> None:
    """Two clients, one with 10,000 jobs: how many jobs of the batch run before a job of the other."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        stores = Stores(Path(name) / "queue.db")
        new = [NewJob(place, REQUEST) for place in range(JOBS)]
        BatchChangeStore(stores.database).enqueue(NewBatch([], {}), new, Submitter("alice", 3))
        waits = []
        for _ in range(SAMPLES):
            for _ in range(chance.randrange(5)):
                stores.claims.claim("w")
            job = stores.jobs.enqueue(REQUEST, client_id="bob")[0]
            ahead = 0
            while (claim := stores.claims.claim("w")) is not None and claim.job_id != job.id:
                ahead += 1
            waits.append(ahead)
        stores.database.close()
    print(f"in the store: p95 {_p95(waits):g}, most {max(waits)} jobs of the batch before another's (wanted: ≤ 2)")


def fair_service() -> None:
    """The same at a service with one worker, whose jobs take a tenth of a second."""
    from tests.e2e.crash.batch import BatchCrashTest

    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        test = BatchCrashTest(Path(name), f"sqlite:///{name}/db/cyberimage.db", workers=1, kills=False)
        waits = test.jobs_before_another(number=2000, others=40)
    print(f"at a service: p95 {_p95(waits):g}, most {max(waits)} jobs of the batch before another's (wanted: ≤ 2)")


def history() -> None:
    """List and status of a batch among a million jobs of batches that have ended."""
    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        _write_history(Path(name) / "db.sqlite")
        settings = load_settings(
            {},
            None,
            database_url=f"sqlite:///{name}/db.sqlite",
            images_dir=Path(name) / "images",
            videos_dir=Path(name) / "videos",
            disk_floor_bytes=0,
            queue_max_pending=100_000,
        )
        app = create_app(settings)
        client, context = app.test_client(), app.extensions["cyberimage"].context
        made = client.post("/api/batches", json={"prompt": "{a|b}", "seeds": JOBS // 2}).json["batch_id"]
        ids = [made, *(f"{number:032x}" for number in range(HISTORY))]
        chance = random.Random(1)
        calls: dict[str, Callable[[], object]] = {
            "list": lambda: client.get("/api/batches"),
            "status, counts": lambda: client.get(f"/api/batches/{chance.choice(ids)}?limit=0"),
            "status, 100 places": lambda: client.get(
                f"/api/batches/{chance.choice(ids)}?limit=100&offset={chance.randrange(JOBS)}"
            ),
            "status of the running one": lambda: client.get(f"/api/batches/{made}"),
            "its view alone": lambda: view(context, made, offset=5000, limit=100),
        }
        for what, call in calls.items():
            times, busy = [], []
            for _ in range(SAMPLES):
                began, ran = time.perf_counter(), time.thread_time()
                call()
                times.append(time.perf_counter() - began)
                busy.append(time.thread_time() - ran)
            print(
                f"{what}: p50 {_ms(statistics.median(times))}, p95 {_ms(_p95(times))} (wanted: ≤ 50 ms);"
                f" processor time p50 {_ms(statistics.median(busy))}, p95 {_ms(_p95(busy))}"
            )
        context.close()


def _write_history(path: Path) -> None:
    stores = Stores(path)
    stores.write_past(1)
    for number in range(HISTORY):
        batch_id = f"{number:032x}"
        with stores.database.write(durable=False) as connection:
            connection.execute(insert(batches).values(id=batch_id, **_ENDED))
            connection.exec_driver_sql(_LINE, {"batch": batch_id, "count": JOBS})
    stores.database.checkpoint()
    stores.database.close()


def killed() -> None:
    """A batch of 500 while everything is killed three times (kill -9)."""
    from tests.e2e.crash.batch import BatchCrashTest

    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        outcome = BatchCrashTest(Path(name), f"sqlite:///{name}/db/cyberimage.db").run(number=500, kills=3)
    pictures = sum(outcome.pictures.values())
    print(
        f"killed at {', '.join(f'{each} %' for each in outcome.kills)}: {outcome.counts['COMPLETED']} of {outcome.jobs}"
        f" completed, {pictures} pictures at {len(outcome.pictures)} places, {outcome.damaged} damaged:"
        f" {'right' if outcome.is_right else 'WRONG'}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _p95(found: list[float] | list[int]) -> float:
    return float(sorted(found)[int(len(found) * 0.95)])


PARTS: dict[str, Callable[[], None]] = {
    "accept": accept,
    "fair": fair,
    "fair_service": fair_service,
    "history": history,
    "killed": killed,
}

if __name__ == "__main__":
    print(describe_machine())
    for wanted in sys.argv[1:] or PARTS:
        print(f"\n## {wanted}: {(PARTS[wanted].__doc__ or '').splitlines()[0]}\n", flush=True)
        PARTS[wanted]()

"""What a façade's call costs over the native one, and what 40 waiting calls cost everybody else.

A stand-in worker in this process publishes small pictures at once, so that what is measured is the interface. All are
called in turn, in each round.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import numpy as np

from app.config import load_settings
from app.services.context import AppContext, open_context
from app.services.media.publish import GenerationResult, Picture, publish
from bench.service import Service, running

ROUNDS, WARM_UP = 60, 10
COST_AT_MOST_MS = 5.0
WAITING, STATUS_REQUESTS = 40, 400
STATUS_AT_MOST = 1.25  # p95 with waiting calls, over without
SIZE = {"width": 256, "height": 256}
TOOL = {"name": "generate_image", "arguments": {"prompt": "a red circle", **SIZE, "wait_seconds": 60}}
PIXELS = np.zeros((256, 256, 3), np.uint8)
CALLS: dict[str, tuple[str, dict]] = {
    "native, which waits (`/v1/txt2img`)": ("/v1/txt2img", {"prompt": "a red circle", **SIZE}),
    "OpenAI": ("/v1/images/generations", {"prompt": "a red circle", "size": "256x256"}),
    "AUTOMATIC1111": ("/sdapi/v1/txt2img", {"prompt": "a red circle", **SIZE}),
    "MCP": ("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": TOOL}),
}


def main() -> None:
    with running("-m", "app.server.gunicorn_app", SYNC_TIMEOUT_SECONDS="120") as service:
        context = context_of(service)
        with working(context):
            costs(service)
        waiting(service, context)
        context.close()


def context_of(service: Service) -> AppContext:
    """The database and folders of the service."""
    places = {"images_dir": service.folder / "images", "videos_dir": service.folder / "videos"}
    database = f"sqlite:///{service.folder / 'db.sqlite'}"
    return open_context(load_settings({}, None, database_url=database, disk_floor_bytes=0, **places))


@contextmanager
def working(context: AppContext) -> Iterator[None]:
    """A worker that draws nothing."""
    ends = threading.Event()

    def work() -> None:
        while not ends.is_set():
            claim = context.claims.claim("bench")
            if claim is None:
                ends.wait(0.001)
                continue
            pictures = [Picture(PIXELS, claim.request.seed)]
            publish(context, claim, GenerationResult(pictures, {}, {}, {}))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    ends.set()
    thread.join()


def costs(service: Service) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in CALLS}
    for number in range(ROUNDS + WARM_UP):
        for name, (path, body) in CALLS.items():
            began = time.perf_counter()
            answer = httpx.post(service.url + path, json=body, timeout=60)
            took = time.perf_counter() - began
            assert answer.status_code == 200, answer.text
            if number >= WARM_UP:
                seconds[name].append(took)
    native, *others = seconds
    print("| call | p50, ms | p95, ms | over the native one, p50 | of the fastest tenth | wanted |")
    print(f"|---|---|---|---|---|---|\n| {native} | {milliseconds(seconds[native])} | | | |")
    for name in others:
        over = 1000 * statistics.median(a - b for a, b in zip(seconds[name], seconds[native], strict=True))
        quick = 1000 * (fastest(seconds[name]) - fastest(seconds[native]))  # on a machine that does other things
        line = f"| {name} | {milliseconds(seconds[name])} | {over:.1f} ms | {quick:.1f} ms | ≤ {COST_AT_MOST_MS:g} ms |"
        print(line, flush=True)


def waiting(service: Service, context: AppContext) -> None:
    """No worker: the calls wait until it is over."""
    job_id = httpx.post(f"{service.url}/api/generate", json={"prompt": "x"}).json()["job_id"]
    before = status_times(service, job_id)
    paths = list(CALLS.values())[1:]
    with ThreadPoolExecutor(WAITING) as pool:
        for number in range(WAITING):
            path, body = paths[number % len(paths)]
            pool.submit(
                _ignore_end, lambda path=path, body=body: httpx.post(service.url + path, json=body, timeout=300)
            )
        while context.jobs.count_pending() < WAITING + 1:
            time.sleep(0.05)
        during = status_times(service, job_id)
        with working(context):  # ends them
            pool.shutdown(wait=True)
    ratio = p95(during) / p95(before)
    print("\n| `GET /api/status` | p50, ms | p95, ms | ratio of p95 | wanted |\n|---|---|---|---|---|")
    print(f"| alone | {milliseconds(before)} | | |")
    print(f"| with {WAITING} waiting calls | {milliseconds(during)} | {ratio:.2f} | ≤ {STATUS_AT_MOST:g} |")


def _ignore_end(call: Callable[[], object]) -> None:
    with suppress(httpx.HTTPError):
        call()


def status_times(service: Service, job_id: str) -> list[float]:
    found = []
    with httpx.Client(base_url=service.url) as client:
        for _ in range(STATUS_REQUESTS):
            began = time.perf_counter()
            client.get(f"/api/status/{job_id}").raise_for_status()
            found.append(time.perf_counter() - began)
    return found


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def fastest(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[0]


def milliseconds(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f} | {1000 * p95(seconds):.1f}"

"""Service overhead: submit → COMPLETED through HTTP, minus the same pipeline called directly in one Python process.

Both run the tiny FLUX checkpoint in turn, A B A B …, on one thread, so that a slow moment of the machine hits both. The
processor's time of a job, by process, says where the overhead is also on a machine that has other work.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from bench.service import running
from tools.tiny_models.build import build

ROUNDS, WARM_UP = 60, 5
SETTINGS = {"num_inference_steps": 4, "guidance_scale": 3.5, "width": 64, "height": 64, "seed": 1}
LIMIT_MS = 40.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build("flux", Path(folder))
        direct = direct_call(checkpoint)
        line = f"tiny-flux;{checkpoint};Tiny FLUX;local;false"
        with running(MODEL_TINY=line, OMP_NUM_THREADS="1") as service, httpx.Client(base_url=service.url) as client:
            service_ms, direct_ms, own_seconds = [], [], 0.0
            for number in range(ROUNDS + WARM_UP):
                if number == WARM_UP:
                    before = processor_seconds(service.process.pid)
                service_ms.append(timed(lambda: submit_and_wait(client)))
                began = time.process_time()
                direct_ms.append(timed(direct))
                own_seconds += (time.process_time() - began) if number >= WARM_UP else 0.0
            after = processor_seconds(service.process.pid)
    service_ms, direct_ms = service_ms[WARM_UP:], direct_ms[WARM_UP:]
    overhead = [a - b for a, b in zip(service_ms, direct_ms, strict=True)]
    print("| | p50 ms | p95 ms |\n|---|---|---|")
    for name, values in (
        ("through the service", service_ms),
        ("direct", direct_ms),
        ("overhead, pair by pair", overhead),
    ):
        print(f"| {name} | {statistics.median(values):.1f} | {statistics.quantiles(values, n=20)[-1]:.1f} |")
    print("\n| process | processor ms a job |\n|---|---|")
    for name, seconds in after.items():
        print(f"| {name} | {(seconds - before.get(name, 0.0)) / ROUNDS * 1000:.1f} |")
    print(f"| the pipeline called directly | {own_seconds / ROUNDS * 1000:.1f} |")
    print(f"\np50 overhead {statistics.median(overhead):.1f} ms (limit {LIMIT_MS:.0f} ms)")


def processor_seconds(pid: int) -> dict[str, float]:
    """Of the processes below `pid`, by what they are."""
    found: dict[str, float] = {}
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words, times = " ".join(process.cmdline()), process.cpu_times()
            name = "worker" if "worker" in words and "gunicorn" not in words else "API"
            found[name] = found.get(name, 0.0) + times.user + times.system
    return found


def submit_and_wait(client: httpx.Client) -> None:
    answer = client.post(
        "/api/generate", json={"prompt": "a red circle", "model_id": "tiny-flux", "settings": SETTINGS}
    ).json()
    last = ""
    with client.stream("GET", answer["events_url"], timeout=120) as stream:
        for line in stream.iter_lines():
            last = line if line.startswith("data:") else last
    assert "COMPLETED" in last, last


def direct_call(checkpoint: Path):
    import torch
    from diffusers import FluxPipeline

    torch.set_num_threads(1)
    pipeline = FluxPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {key: value for key, value in SETTINGS.items() if key != "seed"}

    def call() -> None:
        with torch.inference_mode():
            pipeline("a red circle", generator=torch.Generator().manual_seed(1), **arguments)

    return call


def timed(call) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000

"""Service overhead: submit → COMPLETED through HTTP, minus the same pipeline called directly in one Python process.

Both run the tiny FLUX checkpoint in turn, A B A B …, on one thread, so that a slow moment of the machine hits both.
Each round has a prompt of its own, so that both encode it; with the same prompt again and again the worker takes it
from its cache. The processor's time of a job, by process, says where the overhead is also on a machine that has other
work.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil

from bench.service import running
from tools.tiny_models.build import build

ROUNDS, WARM_UP = 60, 5
SETTINGS = {"num_inference_steps": 4, "guidance_scale": 3.5, "width": 64, "height": 64, "seed": 1}
LIMIT_MS = 15.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build("flux", Path(folder))
        direct = direct_call(checkpoint)
        line = f"tiny-flux;{checkpoint};Tiny FLUX;local;false"
        with running(MODEL_TINY=line, OMP_NUM_THREADS="1") as service, httpx.Client(base_url=service.url) as client:
            for what, prompt in (("a prompt of its own each", "a red circle {}"), ("one prompt", "a red circle")):
                print(f"\n### Jobs with {what}\n")
                compare(client, service.process.pid, direct, prompt)


def compare(client: httpx.Client, pid: int, direct: Callable[[str], None], template: str) -> None:
    """`template` is the prompt, with a place for the number of the round."""
    service_ms, direct_ms, own_seconds, before = [], [], 0.0, processor_seconds(pid)
    for number in range(-WARM_UP, ROUNDS):
        if number == 0:
            before, own_seconds = processor_seconds(pid), 0.0
        prompt = template.format(number)
        service_ms.append(timed(partial(submit_and_wait, client, prompt)))
        began = time.process_time()
        direct_ms.append(timed(partial(direct, prompt)))
        own_seconds += time.process_time() - began
    after = processor_seconds(pid)
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


def submit_and_wait(client: httpx.Client, prompt: str) -> None:
    answer = client.post("/api/generate", json={"prompt": prompt, "model_id": "tiny-flux", "settings": SETTINGS}).json()
    last = ""
    with client.stream("GET", answer["events_url"], timeout=120) as stream:
        for line in stream.iter_lines():
            last = line if line.startswith("data:") else last
    assert "COMPLETED" in last, last


def direct_call(checkpoint: Path) -> Callable[[str], None]:
    import torch
    from diffusers import FluxPipeline

    torch.set_num_threads(1)
    pipeline = FluxPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {key: value for key, value in SETTINGS.items() if key != "seed"}

    def call(prompt: str) -> None:
        with torch.inference_mode():
            pipeline(prompt, generator=torch.Generator().manual_seed(1), **arguments)

    return call


def timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000

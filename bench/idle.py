"""An idle worker: its CPU use, and the latency from submit to claim.

The time from submit to claim is by the database's own clock, as each job's `timings.queued` tells it. A bare loop that
polls as often as the notifier is quick stands beside it, for scale.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from bench.overhead import SETTINGS
from bench.service import running
from tools.tiny_models.build import build

JOBS, WARM_UP = 60, 5
IDLE_SECONDS = 30.0
LIMIT_PERCENT, LIMIT_MS = 0.5, 5.0
POLLING = "import time\nwhile True: time.sleep(0.001)"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = f"tiny-flux;{build('flux', Path(folder))};Tiny FLUX;local;false"
        with running(MODEL_TINY=line, OMP_NUM_THREADS="1") as service, httpx.Client(base_url=service.url) as client:
            waits = []
            for _ in range(JOBS + WARM_UP):
                status = service.generate(client, prompt="a red circle", model_id="tiny-flux", settings=SETTINGS)
                waits.append(status["timings"]["queued"] * 1000)
                time.sleep(0.05)  # so that the worker waits again
            worker = client.get("/api/queue").json()["workers"][0]["pid"]
            busy, polling = idle_percent(worker), of_polling()
    waits = waits[WARM_UP:]
    print("| | p50 | p95 |\n|---|---|---|")
    print(f"| submit to claim, ms | {statistics.median(waits):.1f} | {statistics.quantiles(waits, n=20)[-1]:.1f} |")
    print(f"\n| processor, % of a core | over {IDLE_SECONDS:.0f} s |\n|---|---|")
    print(f"| idle worker | {busy:.2f} |\n| a loop that polls each millisecond | {polling:.2f} |")
    print(f"\nlimits: {LIMIT_MS:g} ms, {LIMIT_PERCENT:g} %")


def idle_percent(pid: int) -> float:
    """CPU time of one process, without children, in percent of one core."""
    process = psutil.Process(pid)
    before, began = process.cpu_times(), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return 100 * used / (time.perf_counter() - began)


def of_polling() -> float:
    process = subprocess.Popen([sys.executable, "-c", POLLING])
    try:
        return idle_percent(process.pid)
    finally:
        process.terminate()
        process.wait(10)

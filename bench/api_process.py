"""The API process alone: seconds until it answers, and its resident memory after a thousand requests.

A bare interpreter and an interpreter that has imported torch stand beside it, for scale.
"""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import psutil

from bench.service import running

LIMIT_SECONDS, LIMIT_MB = 2.0, 150


def main() -> None:
    started = time.perf_counter()
    with running("-m", "app.server.gunicorn_app") as service, httpx.Client(base_url=service.url) as client:
        seconds = time.perf_counter() - started
        for _ in range(500):
            client.get("/api/models")
            client.get("/api/images")
        server = psutil.Process(service.process.pid)
        sizes = {process.pid: process.memory_info().rss / 2**20 for process in (server, *server.children())}
    print("| | seconds to start | RSS MB |\n|---|---|---|")
    print(f"| API: the process that serves | {seconds:.2f} | {max(sizes.values()):.0f} |")
    print(f"| API with gunicorn's arbiter, shared pages counted twice | | {sum(sizes.values()):.0f} |")
    for name, code in (("bare Python", "pass"), ("Python with torch", "import torch")):
        print("| {} | {:.2f} | {:.0f} |".format(name, *of_interpreter(code)))
    print(f"\nlimits: {LIMIT_SECONDS:.0f} s, {LIMIT_MB} MB")


def of_interpreter(code: str) -> tuple[float, float]:
    program = f"import psutil; {code}\nprint(psutil.Process().memory_info().rss / 2**20)"
    started = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return time.perf_counter() - started, float(shown)

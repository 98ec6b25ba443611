"""GET /api/status against a bare Flask JSON route on the same server: requests per second, and their ratio.

Both are loaded in turn by the same keep-alive clients.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from urllib.parse import urlsplit

import httpx

from bench.service import running

CLIENTS, SECONDS, ROUNDS = 4, 3.0, 4
LIMIT = 0.5


def main() -> None:
    with running("-m", "app.server.gunicorn_app") as service, running("-m", "bench.bare_flask") as bare:
        with httpx.Client(base_url=service.url) as client:
            job_id = client.post("/api/generate", json={"prompt": "a red circle"}).json()["job_id"]
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(requests_per_second(service.url, f"/api/status/{job_id}"))
            theirs.append(requests_per_second(bare.url, "/json"))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print("| route | requests/s, median |\n|---|---|")
    print(f"| /api/status | {statistics.median(ours):.0f} |\n| bare Flask JSON | {statistics.median(theirs):.0f} |")
    print(f"\nratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; at least {LIMIT} wanted)")


def requests_per_second(url: str, path: str) -> float:
    counts = [0] * CLIENTS
    stop_at = time.monotonic() + SECONDS

    def load(index: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        while time.monotonic() < stop_at:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            counts[index] += 1
        connection.close()

    threads = [threading.Thread(target=load, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS

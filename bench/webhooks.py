"""Webhook latency at one working receiver while 200 others accept the connection and never respond.

Uses a whole service; jobs are submitted and cancelled at once, which triggers a webhook. Each hanging receiver is a
separate origin. Measures the time from the response to the cancel to the arrival of the message at the working
receiver.
"""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from bench.service import running

HANGING = 200
MESSAGES = 60
PAUSE_SECONDS = 0.5


class Receiver(ThreadingHTTPServer):
    """Responds at once, and records the arrival time of each job's message."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: dict[str, float] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received[body["data"]["job_id"]] = time.monotonic()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def end_a_job(client: httpx.Client, url: str) -> tuple[str, float]:
    """Submit and cancel a job; returns its id and the time of the cancel."""
    answer = client.post("/api/generate", json={"prompt": "a red circle", "webhook_url": url})
    answer.raise_for_status()
    job_id = answer.json()["job_id"]
    client.post(f"/api/jobs/{job_id}/cancel").raise_for_status()
    return job_id, time.monotonic()


def main() -> None:
    settings = {"WEBHOOK_ALLOW_PRIVATE": "true", "QUEUE_MAX_PENDING": "100000"}
    with ExitStack() as stack:
        hanging = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(HANGING)]
        service = stack.enter_context(running("run.py", "--workers", "0", **settings))
        client = stack.enter_context(httpx.Client(base_url=service.url))
        receiver = Receiver()
        url = f"http://127.0.0.1:{receiver.server_port}/"
        for listener in hanging:
            end_a_job(client, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        ended = {}
        for _ in range(MESSAGES):
            job_id, at = end_a_job(client, url)
            ended[job_id] = at
            time.sleep(PAUSE_SECONDS)
        give_up_at = time.monotonic() + 120
        while len(receiver.received) < MESSAGES and time.monotonic() < give_up_at:
            time.sleep(0.05)
        waits = sorted(receiver.received[job_id] - at for job_id, at in ended.items() if job_id in receiver.received)
        print(f"{HANGING} receivers hang; {len(waits)} of {MESSAGES} messages arrived at the one that works")
        if len(waits) > 1:
            p95 = statistics.quantiles(waits, n=20)[-1]
            print(f"after p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s, at most {waits[-1]:.2f} s")


if __name__ == "__main__":
    main()

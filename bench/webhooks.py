"""Webhooks beside 200 receivers that take the connection and never answer: when is the one told that works?

A whole service; jobs are sent and cancelled at once, which is an end that has to be told. Each receiver that hangs is
an origin of its own. What is measured is the time from the cancel's answer to the message's arrival, at a receiver that
is told now and then while all others hang.
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
TOLD = 60
PAUSE_SECONDS = 0.5


class Receiver(ThreadingHTTPServer):
    """Answers at once, and notes when which job was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: dict[str, float] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told[body["data"]["job_id"]] = time.monotonic()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


def end_a_job(client: httpx.Client, url: str) -> tuple[str, float]:
    """A job that was cancelled, and when."""
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
        for _ in range(TOLD):
            job_id, at = end_a_job(client, url)
            ended[job_id] = at
            time.sleep(PAUSE_SECONDS)
        give_up_at = time.monotonic() + 120
        while len(receiver.told) < TOLD and time.monotonic() < give_up_at:
            time.sleep(0.05)
        waits = sorted(receiver.told[job_id] - at for job_id, at in ended.items() if job_id in receiver.told)
        print(f"{HANGING} receivers hang; {len(waits)} of {TOLD} messages arrived at the one that works")
        if len(waits) > 1:
            p95 = statistics.quantiles(waits, n=20)[-1]
            print(f"after p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s, at most {waits[-1]:.2f} s")


if __name__ == "__main__":
    main()

"""Runs a whole CyberImage in a temporary folder for a benchmark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.config import ROOT

START_SECONDS = 60


@dataclass(frozen=True)
class Service:
    """A running service: `process` is run.py (or the API alone), `folder` holds its database, images and logs."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def generate(self, client: httpx.Client, **body: object) -> dict:
        """Submit, read the event stream to the end, and return the last status."""
        answer = client.post("/api/generate", json=body)
        answer.raise_for_status()
        job_id = answer.json()["job_id"]
        with client.stream("GET", f"/api/jobs/{job_id}/events", timeout=120) as stream:
            for _ in stream.iter_lines():
                pass
        return client.get(f"/api/status/{job_id}").json()


@contextmanager
def running(*command: str, root: Path = ROOT, **environment: str) -> Iterator[Service]:
    """Start `command` (default: run.py with one worker) of the tree `root`, with a fresh folder; stop it by its own
    process id."""
    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        folder, port = Path(name), free_port()
        process = subprocess.Popen(
            [sys.executable, *(command or ("run.py", "--workers", "1"))],
            cwd=root,
            env={**os.environ, **place_environment(folder, port), **environment},
            stderr=(folder / "stderr").open("wb"),
        )
        try:
            yield Service(wait_until_up(f"http://127.0.0.1:{port}", process, folder), folder, process)
        finally:
            process.terminate()
            process.wait(60)


def place_environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite'}",
        "IMAGES_DIR": str(folder / "images"),
        "LOG_DIR": str(folder / "logs"),
        "RATE_LIMIT_GENERATE": "",
        "RATE_LIMIT_READ": "",
    }


def wait_until_up(url: str, process: subprocess.Popen[bytes], folder: Path) -> str:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            httpx.get(f"{url}/livez").raise_for_status()
            return url
        except httpx.HTTPError:
            time.sleep(0.02)
    raise RuntimeError(f"it did not start: {(folder / 'stderr').read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

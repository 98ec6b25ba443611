"""Runs CyberImage as users do: `python run.py`, in its own folders, on a free port of the loopback device."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.ports import free_port
from tests.processes import Processes, family_of
from tests.waiting import wait_until

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")


class Service:
    """A service with `start`, `stop` and `client`; a restart keeps its folders and port."""

    def __init__(self, processes: Processes, folder: Path, *, command: tuple[str, ...] = ("run.py",), **env: str):
        self.folder = folder
        self.environment = {
            "PORT": str(free_port()),
            "WORKERS": "1",
            "DATABASE_URL": f"sqlite:///{folder / 'db' / 'cyberimage.db'}",
            "IMAGES_DIR": str(folder / "images"),
            "VIDEOS_DIR": str(folder / "videos"),
            "LOG_DIR": str(folder / "logs"),
            "MODEL_CACHE_DIR": str(folder / "models"),
            "DISK_FLOOR_BYTES": "0",
            "PRELOAD": "none",  # few of the tests draw
            "CUDA_VISIBLE_DEVICES": "-1",  # the pictures are compared with those of a CPU
            "OMP_NUM_THREADS": "1",
            **env,
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.environment['PORT']}", timeout=30)
        self._command = command
        self._processes = processes
        self._run: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> subprocess.Popen[bytes]:
        assert self._run is not None, "it was not started"
        return self._run

    def start(self) -> None:
        self._run = self._processes.start(*self._command, **self.environment)
        wait_until(self.is_ready, f"it did not get ready: {self._processes.said()[-3000:]}")

    def is_ready(self) -> bool:
        """Whether it takes requests and a worker lives."""
        assert self.run.poll() is None, self._processes.said()[-3000:]
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.run.terminate()
        return self.run.wait(60)

    def family(self) -> list[psutil.Process]:
        """run.py and all that descend from it."""
        return family_of(self.run.pid)

    def workers(self) -> list[psutil.Process]:
        return [process for process in self.family() if any("worker" in part for part in process.cmdline()[1:3])]

    def submit(self, prompt: str, model_id: str, **settings: Any) -> str:
        body = {"prompt": prompt, "model_id": model_id, "settings": settings}
        answer = self.client.post("/api/generate", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def status(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/status/{job_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def ended(self, job_id: str) -> dict[str, Any]:
        wait_until(lambda: self.status(job_id)["status"] in TERMINAL, f"{job_id} did not end", patience=120)
        return self.status(job_id)

    def completed(self, job_id: str) -> dict[str, Any]:
        body = self.ended(job_id)
        assert body["status"] == "COMPLETED", body["error"]
        return body

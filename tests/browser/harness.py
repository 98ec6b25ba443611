"""A CyberImage on loopback for browser tests: the real API process and real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.processes import Processes
from tests.waiting import PATIENCE, wait_until

MODELS = {
    "MODEL_PAINTER": "painter;builtin;Paints small flat scenes;local;false;"
    '{"steps": {"min": 4, "max": 40, "default": 12}, "defaults": {"width": 256, "height": 256, "guidance_scale": 3.5},'
    ' "tasks": ["txt2img", "img2img"], "schedulers": ["euler", "euler_a", "dpmpp_2m"], "prediction": "epsilon",'
    ' "limits": {"min_width": 64, "max_width": 512, "min_height": 64, "max_height": 512, "max_images": 4},'
    ' "example_prompts": ["a sunset over mountains", "a red boat on a calm sea", "a snowy forest at night"]}',
    "MODEL_FIXED": "fixed;builtin;Always takes seven steps;local;false;"
    '{"fixed_steps": 7, "negative_prompt": false, "defaults": {"width": 256, "height": 256}}',
    "MODEL_OPEN": "open;builtin;Says nothing about its steps;local;false",
}

RETOUCHER = (
    "retoucher;builtin;Paints and repaints;local;false;"
    '{"steps": {"min": 4, "max": 40, "default": 6}, "defaults": {"width": 256, "height": 256, "guidance_scale": 3.5},'
    ' "tasks": ["txt2img", "img2img", "inpaint"],'
    ' "limits": {"min_width": 64, "max_width": 512, "min_height": 64, "max_height": 512, "max_images": 4,'
    ' "multiple_of": 8}}'
)


class Harness:
    """Context manager; `close` ends every process that was started."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "DATABASE_URL": f"sqlite:///{folder / 'cyberimage.sqlite'}",
            "IMAGES_DIR": str(folder / "images"),
            "VIDEOS_DIR": str(folder / "videos"),
            "LOG_DIR": str(folder / "logs"),
            "MODEL_CACHE_DIR": str(folder / "models"),
            "PORT": str(self.port),
            "DEFAULT_MODEL_ID": "painter",
            "SUSPICIOUS_INPUT": "off",  # the page must be safe by itself
            "DISK_FLOOR_BYTES": "0",
            "PRELOAD": "none",
            "SERVICE_WORKER": "off",  # it would answer in place of a server that a test has stopped
            "HEARTBEAT_SECONDS": "0.5",
            "LEASE_SECONDS": "6",
            "WORKER_POLL_SECONDS": "0.2",
            "OMP_NUM_THREADS": "1",
            **MODELS,
            **environment,
        }
        self._processes = Processes(folder)
        self.api: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, worker: str | None = "tests.browser.painter") -> Harness:
        self.start_api()
        if worker:
            self.start_worker(worker)
        address = "/readyz" if worker else "/livez"
        try:
            wait_until(lambda: self.answers(address), "it did not come up")
        except AssertionError as error:
            raise AssertionError(self._processes.said()) from error
        return self

    def open_as_people_do(self) -> Harness:
        """`python run.py`: the supervisor, and what it starts."""
        self._processes.start("run.py", **self.environment)
        wait_until(lambda: self.answers("/readyz"), "it did not come up")
        return self

    def start_api(self) -> None:
        self.api = self._processes.start("-m", "app.server.gunicorn_app", **self.environment)

    def start_worker(self, module: str = "tests.browser.painter") -> None:
        how = [module] if module.endswith(".py") else ["-m", module]
        self.worker = self._processes.start(*how, **self.environment)

    def start_remote_worker(self) -> None:
        self._processes.start("worker.py", "--lane", "remote", **self.environment)

    def kill_api(self) -> None:
        """As a crash would: the server process and the one that watches over it."""
        assert self.api is not None
        os.killpg(self.api.pid, signal.SIGKILL)  # every process here leads a session of its own
        self.api.wait(PATIENCE)

    def stop_worker(self) -> None:
        assert self.worker is not None
        self.worker.send_signal(signal.SIGTERM)
        self.worker.wait(PATIENCE)

    def close(self) -> None:
        self._processes.close()

    # --- what other clients do ------------------------------------------------------------------------------------

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or b"null")

    def answers(self, path: str) -> bool:
        try:
            self.call(path)
        except OSError:
            return False
        return True

    def submit(self, prompt: str, model_id: str = "painter", **settings: Any) -> str:
        body = {"prompt": prompt, "model_id": model_id, "settings": settings}
        job_id: str = self.call("/api/generate", body)["job_id"]
        return job_id

    def status(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(f"/api/status/{job_id}")
        return found

    def made(self, prompt: str, **settings: Any) -> dict[str, Any]:
        """The status of a job that is submitted now, when it has ended."""
        job_id = self.submit(prompt, **settings)
        return self.ended(job_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        wait_until(lambda: self.status(job_id)["status"] in ("COMPLETED", "FAILED", "CANCELLED"), "the job never ended")
        return self.status(job_id)

    def quiet(self) -> None:
        """Wait until nothing runs or waits; a picture's `created_at` then lies in the past."""

        def idle() -> bool:
            counts = self.call("/api/queue")["counts"]
            return not counts["PENDING"] and not counts["PROCESSING"]

        wait_until(idle, "the queue never became empty")
        time.sleep(0.01)

"""Two API processes, each a run.py without workers, and one worker, all on one database."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import httpx

from tests.ports import free_port
from tests.processes import Processes
from tests.waiting import wait_until


class Servers:
    """`ports` by index. The worker answers at once with a picture of one color; to the prompt "until the gate opens"
    only when the file `gate` exists."""

    def __init__(self, processes: Processes, folder: Path, **environment: str) -> None:
        self.ports = (free_port(), free_port())
        self.gate = folder / "gate"
        self._processes = processes
        self._environments = [
            {
                "PORT": str(port),
                "WORKERS": "0",
                "DATABASE_URL": f"sqlite:///{folder}/db.sqlite",
                "IMAGES_DIR": str(folder / "images"),
                "VIDEOS_DIR": str(folder / "videos"),
                "MODEL_CACHE_DIR": str(folder / "models"),
                "LOG_DIR": str(folder / f"logs-{index}"),
                "DISK_FLOOR_BYTES": "0",
                "QUEUE_MAX_PENDING": "1000000",
                "TRUSTED_PROXIES": "1",
                **environment,
            }
            for index, port in enumerate(self.ports)
        ]
        self._running: list[subprocess.Popen[bytes]] = [processes.start("run.py", **self._environments[0])]
        self._wait_for(0, "/health")  # the first one makes the database
        self._running.append(processes.start("run.py", **self._environments[1]))
        worker = {name: value for name, value in self._environments[0].items() if name not in ("PORT", "LOG_DIR")}
        processes.start_worker({**worker, "LOG_DIR": str(folder / "logs-worker")}, f"gate={self.gate}")
        for index in (0, 1):
            self._wait_for(index, "/readyz")

    def stop(self, index: int) -> subprocess.Popen[bytes]:
        """Send SIGTERM; it drains."""
        self._running[index].send_signal(signal.SIGTERM)
        return self._running[index]

    def signal(self, index: int, number: int) -> None:
        """Send a signal to its run.py."""
        self._running[index].send_signal(number)

    def start(self, index: int) -> None:
        self._running[index] = self._processes.start("run.py", **self._environments[index])
        self._wait_for(index, "/readyz")

    def _wait_for(self, index: int, path: str) -> None:
        url = f"http://127.0.0.1:{self.ports[index]}{path}"

        def answers() -> bool:
            try:
                return httpx.get(url, timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, f"{url} did not answer: {self._processes.said()[-3000:]}")

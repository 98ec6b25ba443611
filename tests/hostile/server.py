"""A real API process for hostile clients, without a worker: accepted jobs only wait."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.ports import free_port
from tests.processes import Processes, family_of
from tests.waiting import wait_until


class HostileServer:
    def __init__(
        self, processes: Processes, folder: Path, *, program: str = "app.server.gunicorn_app", **environment: str
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes = processes
        self.process = processes.start(
            "-m",
            program,
            PORT=str(self.port),
            DATABASE_URL=f"sqlite:///{folder}/db.sqlite",
            IMAGES_DIR=str(folder / "images"),
            VIDEOS_DIR=str(folder / "videos"),
            MODEL_CACHE_DIR=str(folder / "models"),
            LOG_DIR=str(folder / "logs"),
            DISK_FLOOR_BYTES="0",
            SYNC_TIMEOUT_SECONDS="0.2",
            QUEUE_MAX_PENDING="1000000",
            **environment,
        )
        wait_until(self.is_well, f"it did not start: {processes.said()[-3000:]}")

    def is_well(self) -> bool:
        """It lives, answers, and has logged no surprise."""
        assert self.process.poll() is None, self._processes.said()[-3000:]
        try:
            answer = httpx.get(f"{self.url}/health", timeout=10)
        except httpx.TransportError:
            return False
        assert "Traceback" not in self._processes.said(), self._processes.said()[-3000:]
        return answer.status_code == 200

    def said(self) -> str:
        """Everything that it printed or logged."""
        logs = (path.read_text(errors="replace") for path in (self.folder / "logs").glob("*.log"))
        return self._processes.said() + "".join(logs)

    def memory(self) -> int:
        """Resident bytes of the process that serves."""
        return max(process.memory_info().rss for process in family_of(self.process.pid))

    def connections(self) -> int:
        """That are open to it now."""
        return sum(
            one.status == psutil.CONN_ESTABLISHED and one.laddr.port == self.port
            for process in family_of(self.process.pid)
            for one in process.net_connections("tcp")
        )

    def eventually(self, condition: Callable[[], bool]) -> bool:
        wait_until(condition, "it never came true")
        return True

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, request: bytes) -> bytes:
        """All that is answered to `request` as it stands, until the server closes or is done."""
        with self.connect() as connection:
            answer = b""
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    answer += piece
            except OSError:  # it hung up on us
                return answer
            return answer

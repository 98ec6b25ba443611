"""Clients at a proxy while the servers behind it are restarted one after the other."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter

from tests.e2e.proxies.proxies import HAProxy
from tests.e2e.proxies.servers import Servers
from tests.waiting import wait_until

CLIENTS = 8
JOB = json.dumps({"prompt": "a boat"})


class Clients:
    """Each submits a job and reads its status, again and again, on one kept connection. `answers`: how often each
    method got each status, or failed by an exception of that name; `refusals`: the first body of each failure."""

    def __init__(self, port: int, pause: float = 0.0) -> None:
        self.answers: Counter[tuple[str, int | str]] = Counter()
        self.refusals: dict[tuple[str, int | str], str] = {}
        self._port = port
        self._pause = pause
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def count(self) -> int:
        with self._lock:
            return sum(self.answers.values())

    def failed(self) -> dict[tuple[str, int | str], int]:
        with self._lock:
            return {key: count for key, count in self.answers.items() if key[1] not in (200, 202)}

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._over.is_set():
            accepted = self._ask(connection, "POST", "/api/generate")
            if accepted is not None:
                self._ask(connection, "GET", f"/api/status/{accepted['job_id']}")
            self._over.wait(self._pause)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str) -> dict | None:
        body = JOB if method == "POST" else None
        outcome: int | str
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            content, outcome = answer.read(), answer.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            content, outcome = b"", type(error).__name__
        with self._lock:
            self.answers[method, outcome] += 1
            if outcome not in (200, 202):
                self.refusals.setdefault((method, outcome), content.decode(errors="replace"))
        return json.loads(content) if outcome in (200, 202) else None


def restart_each(servers: Servers, proxy: HAProxy, clients: Clients, requests_between: int) -> list[str]:
    """Restart both servers, each when `requests_between` more requests were answered. Returns what the proxy's health
    check said of each while it stopped, as `L7STS/503`."""
    checks = []
    for index, name in enumerate(("api1", "api2")):
        enough = clients.count() + requests_between
        wait_until(lambda enough=enough: clients.count() >= enough, "the clients stand still", patience=600)  # type: ignore[misc]
        stopping = servers.stop(index)
        wait_until(lambda name=name: proxy.servers()[name]["status"] == "DOWN", "the proxy saw no stop")  # type: ignore[misc]
        seen = proxy.servers()[name]
        checks.append(f"{seen['check_status']}/{seen['check_code']}")
        assert stopping.wait(60) == 0
        servers.start(index)
        wait_until(lambda name=name: proxy.servers()[name]["status"] == "UP", "the proxy saw no start")  # type: ignore[misc]
    return checks

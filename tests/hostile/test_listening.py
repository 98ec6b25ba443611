"""Every form of HOST, with a real server: it listens, responds, prints its address, and stops."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import unix_connect

from tests.e2e.service import free_port
from tests.processes import Processes
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


def environment(folder: Path, host: str, **more: str) -> dict[str, str]:
    places = {name: str(folder / name) for name in ("IMAGES_DIR", "VIDEOS_DIR", "LOG_DIR", "MODEL_CACHE_DIR")}
    return {**places, "DATABASE_URL": f"sqlite:///{folder}/db", "DISK_FLOOR_BYTES": "0", "HOST": host, **more}


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "::1"])
def test_an_address(processes: Processes, tmp_path: Path, host: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("IPV6 TESTS SKIPPED: this machine has no ::1")
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    port = free_port()
    processes.start("run.py", **environment(tmp_path, host, PORT=str(port), WORKERS="0"))
    with httpx.Client(base_url=f"http://{shown}:{port}") as client:
        wait_until(lambda: answers(client), f"it does not answer: {processes.said()[-2000:]}")
    assert f"on http://{shown}:{port}" in processes.said()
    stopped = processes.start("run.py", "--stop", **environment(tmp_path, host, PORT=str(port)))
    assert stopped.wait(60) == 0


def test_a_unix_socket(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "run" / "api.sock"
    server = processes.start(
        "-m", "app.server.gunicorn_app", **environment(tmp_path, f"unix:{path}", FORWARDED_ALLOW_IPS="*")
    )
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", timeout=60) as client:
        wait_until(lambda: answers(client), f"it does not answer: {processes.said()[-2000:]}")
        assert f"on unix:{path}" in processes.said()
        assert stat.S_IMODE(path.stat().st_mode) & ~0o660 == 0
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0
        job = client.post("/api/generate", json={"prompt": "x"}).json()
        assert client.get("/x/livez", headers={"SCRIPT_NAME": "/x", "X-Forwarded-Proto": "https"}).status_code == 404
        large = {"prompt": "x", "image": "A" * 900_000}
        assert client.post("/api/generate", json=large).status_code == 400
        client.post(f"/api/jobs/{job['job_id']}/cancel")
        with client.stream("GET", job["events_url"]) as events:
            assert any("CANCELLED" in line for line in events.iter_lines())
    with unix_connect(str(path), "ws://localhost/v1/stream/generate/txt2img") as stream:
        stream.send(json.dumps({"prompt": "x"}))
        assert json.loads(stream.recv(60))["type"] == "progress"
    again = processes.start("run.py", "--check", **environment(tmp_path, f"unix:{path}"))
    assert again.wait(60) == 2
    assert "another program listens there" in processes.said()
    server.terminate()
    assert server.wait(60) == 0
    assert not os.path.exists(path)


def test_a_unix_socket_of_a_killed_server_is_replaced(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    processes.start("-m", "app.server.gunicorn_app", **environment(tmp_path, f"unix:{path}"))
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        wait_until(lambda: answers(client), f"it does not answer: {processes.said()[-2000:]}")

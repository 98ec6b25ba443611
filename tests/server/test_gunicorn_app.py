"""The API as a real process under gunicorn: starting, stopping, and what only a real socket shows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.config import ROOT
from tests.waiting import PATIENCE

# Alone in their own worker when the suite runs in parallel; they share one server.
pytestmark = pytest.mark.xdist_group("serve")


def start(folder: Path, **environment: str) -> subprocess.Popen:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"DATABASE_URL": f"sqlite:///{folder}/db", "IMAGES_DIR": f"{folder}/images", "LOG_DIR": f"{folder}/logs"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.server.gunicorn_app"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), "DISK_FLOOR_BYTES": "0", **places, **environment},
        stderr=(folder / "stderr").open("wb"),
    )
    process.url = f"http://127.0.0.1:{port}"
    return process


def wait_for(process: subprocess.Popen) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            httpx.get(f"{process.url}/livez").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[subprocess.Popen]:
    process = start(tmp_path_factory.mktemp("serve"))
    wait_for(process)
    yield process
    process.terminate()
    process.wait(30)


def test_a_body_that_is_too_large_is_answered_and_not_cut_off(server):
    for body in (b"x" * 10_000_000, (b"y" * 100_000 for _ in range(100))):  # announced, and chunked
        answer = httpx.post(f"{server.url}/api/generate", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert httpx.get(f"{server.url}/livez").status_code == 200


def test_paths_that_climb_over_a_socket(server):
    for path in ("/api/image/../../etc/passwd", "/static/../config.py", "/static/..%2fconfig.py", "/api/status/%2e%2e"):
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 404"), path
        assert b"application/problem+json" in answer


def test_a_client_can_go_on_asking_after_a_stream(server):
    """The connection of a stream is closed, and says so: else the next request of a pool would find it dead."""
    with httpx.Client(base_url=server.url) as client:
        job = client.post("/api/generate", json={"prompt": "x"}).json()
        client.post(f"/api/jobs/{job['job_id']}/cancel")
        for _ in range(20):
            with client.stream("GET", job["events_url"], timeout=20) as stream:
                assert stream.headers["Connection"] == "close"
                assert any(line.startswith("event: status") for line in stream.iter_lines())
            assert client.get("/livez").status_code == 200


def test_it_stops_at_once_though_a_stream_is_open(tmp_path):
    process = start(tmp_path)
    try:
        wait_for(process)
        job = httpx.post(f"{process.url}/api/generate", json={"prompt": "x"}).json()
        with httpx.stream("GET", process.url + job["events_url"], timeout=20) as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("event: status") for line in lines)
            process.send_signal(signal.SIGTERM)
            assert not [line for line in lines if line.startswith("event:")]
        assert process.wait(20) == 0
        assert "Traceback" not in (tmp_path / "stderr").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PORT": "many"}, "PORT"),
        ({"MODEL_BAD": "a;b"}, "MODEL_BAD"),
        ({"DEFAULT_MODEL_ID": "none"}, "DEFAULT_MODEL_ID"),
    ],
)
def test_a_wrong_setting_stops_the_start_without_a_stack_trace(tmp_path, environment, named):
    process = start(tmp_path, **environment)
    assert process.wait(30) == 2
    told = (tmp_path / "stderr").read_text()
    assert named in told
    assert "Traceback" not in told

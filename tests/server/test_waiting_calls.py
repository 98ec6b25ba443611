"""Calls that wait for their job hold no request thread: many wait in a server with few, and all are answered."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.config import load_settings
from app.services.context import AppContext, open_context
from tests.api.conftest import Worker
from tests.server.test_gunicorn_app import start, wait_for
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.xdist_group("serve")
MANY = 40
BODY = {"prompt": "a red fox", "timeout": 3600}


@pytest.fixture
def served(tmp_path) -> Iterator:
    """A server with four request threads, and the database that it works on."""
    process = start(tmp_path, SERVER_THREADS="4")
    process.folder = tmp_path
    wait_for(process)
    context = database_of(tmp_path)
    yield process, context
    process.terminate()
    process.wait(30)
    context.close()


def database_of(folder: Path) -> AppContext:
    """The database and folders that the server in `folder` works on."""
    places = {"images_dir": folder / "images", "videos_dir": folder / "videos"}
    return open_context(load_settings({}, None, database_url=f"sqlite:///{folder}/db", disk_floor_bytes=0, **places))


def post(url: str, path: str = "/v1/txt2img", **more) -> httpx.Response:
    return httpx.post(url + path, json=BODY | more, timeout=PATIENCE)


def is_pending(context: AppContext, count: int) -> bool:
    return context.jobs.count_pending() == count


def test_many_wait_and_the_server_goes_on_answering(served):
    process, context = served
    with ThreadPoolExecutor(MANY) as clients:
        waiting = [clients.submit(post, process.url) for _ in range(MANY)]
        wait_until(lambda: is_pending(context, MANY), "they were not accepted")
        for job in context.jobs.waiting(limit=5):
            assert httpx.get(f"{process.url}/api/status/{job.id}", timeout=10).json()["status"] == "PENDING"
        assert not any(call.done() for call in waiting)
        worker = Worker(context)
        for _ in range(MANY - 1):
            worker.finish()
        worker.fail()
        answers = [call.result(PATIENCE) for call in waiting]
    assert sorted(answer.status_code for answer in answers) == [200] * (MANY - 1) + [507]
    for answer in answers:
        assert answer.headers["Connection"] == "close"
        assert answer.headers["X-Job-Id"]
        assert answer.headers["X-Request-Id"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert len({body["job_id"] for body in good}) == MANY - 1
    assert all(body["image"] for body in good)
    assert next(answer for answer in answers if answer.status_code == 507).json()["code"] == "out_of_memory"
    metrics = httpx.get(f"{process.url}/metrics").text
    route = 'method="POST",route="/v1/txt2img"'
    assert f'cyberimage_http_requests_total{{facade="v1",{route},status="200"}} {MANY - 1}.0' in metrics
    log = (process.folder / "logs" / "access.log").read_text()
    assert log.count("route=/v1/txt2img status=200") == MANY - 1


def test_past_its_time_a_call_is_answered(served):
    process, _ = served
    answer = post(process.url, timeout=0.1)
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")


def test_the_place_of_a_client_that_left_is_free_again(served):
    process, context = served
    body = json.dumps(BODY).encode()
    head = (
        f"POST /v1/txt2img HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    address = ("127.0.0.1", int(process.url.rpartition(":")[2]))
    with socket.create_connection(address) as client:
        client.sendall(f"{head}\r\n\r\n".encode() + body)
        wait_until(lambda: is_pending(context, 1), "it was not accepted")
    Worker(context).finish()  # nobody is there to read it
    assert post(process.url, timeout=0.1).status_code == 202


def test_a_server_that_stops_says_where_the_job_is(tmp_path):
    process = start(tmp_path)
    wait_for(process)
    context = database_of(tmp_path)
    try:
        with ThreadPoolExecutor() as clients:
            waiting = clients.submit(post, process.url)
            wait_until(lambda: is_pending(context, 1), "it was not accepted")
            process.send_signal(signal.SIGTERM)
            answer = waiting.result(PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
        assert process.wait(30) == 0
        assert "Traceback" not in (tmp_path / "stderr").read_text()
    finally:
        process.kill()
        process.wait()
        context.close()

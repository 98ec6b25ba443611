"""Calls of façades against a server with few threads: many wait, and who leaves is noticed if that is wanted."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from app.core.job import JobStatus
from tests.api.conftest import Worker
from tests.server.test_gunicorn_app import start, wait_for
from tests.server.test_waiting_calls import database_of
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.xdist_group("serve")
MANY = 40
BODY = {"prompt": "a red fox"}


@pytest.fixture
def serve(tmp_path):
    """Starts a server with four request threads; gives its URL and its database."""
    running = []

    def serve(**environment):
        process = start(tmp_path, SERVER_THREADS="4", **environment)
        running.append(process)
        serve.process = process
        wait_for(process)
        running.append(database_of(tmp_path))
        return process.url, running[-1]

    yield serve
    for one in running:
        if hasattr(one, "terminate"):
            one.terminate()
            one.wait(30)
        else:
            one.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def sdk(url: str, **options) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", **{"timeout": PATIENCE, **options})


def call_tool(url: str, **arguments) -> dict:
    """The result of generate_image, after whatever events came before it."""
    call = {"name": "generate_image", "arguments": {"wait_seconds": 600, **arguments}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**call, "_meta": {"progressToken": 1}}}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{url}/mcp", json=body, headers=headers, timeout=PATIENCE)
    assert answer.headers["Content-Type"].startswith("text/event-stream"), answer.text
    *_, last = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return json.loads(last.removeprefix("data: "))["result"]


def test_many_wait_and_the_status_is_answered(serve):
    url, context = serve()
    with ThreadPoolExecutor(MANY) as clients, sdk(url) as client:
        waiting = [clients.submit(client.images.generate, prompt=f"fox {number}") for number in range(MANY // 2)]
        tools = [clients.submit(call_tool, url, prompt=f"tool's fox {number}") for number in range(MANY // 2)]
        wait_until(lambda: context.jobs.count_pending() == MANY, "they were not accepted")
        for job in context.jobs.waiting(limit=3):
            assert httpx.get(f"{url}/api/status/{job.id}", timeout=10).json()["status"] == "PENDING"
        worker = Worker(context)
        for _ in range(MANY):
            worker.finish()
        assert all(call.result(PATIENCE).data[0].b64_json for call in waiting)
        assert {call.result(PATIENCE)["structuredContent"]["status"] for call in tools} == {"COMPLETED"}
    assert context.jobs.counts()[JobStatus.COMPLETED] == MANY


def test_the_sdks_next_try_waits_for_the_same_job(serve):
    """The first try ends after SYNC_TIMEOUT_SECONDS with 504, which the SDK takes for a reason to try again."""
    url, context = serve(SYNC_TIMEOUT_SECONDS="1")
    with ThreadPoolExecutor() as clients, sdk(url, max_retries=5) as client:
        call = clients.submit(client.images.with_raw_response.generate, **BODY)
        wait_until(lambda: _is_retried(url), "it did not try again")
        Worker(context).finish()
        answer = call.result(PATIENCE)
    assert answer.retries_taken >= 1
    assert answer.parse().data[0].b64_json
    assert context.jobs.counts()[JobStatus.COMPLETED] == 1
    assert not context.jobs.count_pending()


def _is_retried(url: str) -> bool:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return any('route="/v1/images/generations"' in line and 'status="504"' in line for line in lines)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("wanted", "ends"), [("true", "CANCELLED"), ("false", "PENDING")])
def test_a_client_that_leaves(serve, wanted, ends, stream):
    url, context = serve(FACADE_CANCEL_ON_DISCONNECT=wanted)
    body = b'{"prompt": "x", "stream": true}' if stream else b'{"prompt": "x"}'
    head = "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        client.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(context.jobs.count_pending, "it was not accepted")
        if stream:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        [job] = context.jobs.waiting()
    if wanted == "true":
        wait_until(lambda: context.jobs.get(job.id).status is JobStatus.CANCELLED, "it was not cancelled")
    else:
        assert httpx.post(f"{url}/v1/txt2img", json={**BODY, "timeout": 0.1}).status_code == 202
    assert context.jobs.get(job.id).status == ends


def test_a_tool_of_a_server_that_stops_says_where_the_job_is(serve):
    url, context = serve()
    with ThreadPoolExecutor() as clients:
        call = clients.submit(call_tool, url, prompt="x")
        wait_until(context.jobs.count_pending, "it was not accepted")
        serve.process.terminate()
        result = call.result(PATIENCE)
    assert (result["structuredContent"]["status"], result["structuredContent"]["position"]) == ("PENDING", 1)
    assert "get_generation" in result["content"][0]["text"]


def test_a_server_that_stops_has_the_client_come_again(tmp_path):
    process = start(tmp_path)
    wait_for(process)
    context = database_of(tmp_path)
    try:
        with ThreadPoolExecutor() as clients:
            call = clients.submit(httpx.post, f"{process.url}/v1/images/generations", json=BODY, timeout=PATIENCE)
            wait_until(context.jobs.count_pending, "it was not accepted")
            process.terminate()
            answer = call.result(PATIENCE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
        assert answer.headers["Retry-After"]
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        context.close()

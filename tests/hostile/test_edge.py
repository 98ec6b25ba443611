"""Server edge cases: forwarded headers, refused requests, methods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.hostile.server import HostileServer
from tests.hostile.test_half_open import KeyedServer
from tests.processes import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Prefix": "/elsewhere",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-For": "192.0.2.7",
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("edge"))
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def server(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> KeyedServer:
    return KeyedServer(processes, tmp_path_factory.mktemp("keyed"), SCRIPT_NAME="/x", FORWARDED_ALLOW_IPS="*")


@pytest.fixture(scope="module")
def proxied(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> HostileServer:
    return HostileServer(processes, tmp_path_factory.mktemp("proxied"), TRUSTED_PROXIES="1")


@pytest.mark.parametrize("path", ["/v1/txt2img", "/api/v1/generate/txt2img", "/v1/models/unload", "/v1/inference/demo"])
def test_options_runs_nothing(server: KeyedServer, path: str) -> None:
    answer = httpx.request("OPTIONS", server.url + path, json={"prompt": "x"})
    assert (answer.status_code, answer.content) == (200, b"")
    queue = httpx.get(f"{server.url}/api/queue", headers={"Authorization": f"Bearer {server.token}"}).json()
    assert queue["waiting"] == []


@pytest.mark.parametrize("header", ["SCRIPT_NAME", "Script-Name", "X_Forwarded_Proto", "PATH_INFO", "REMOTE_USER"])
def test_no_header_changes_the_path(server: KeyedServer, header: str) -> None:
    answer = httpx.get(f"{server.url}/x/livez", headers={header: "/x"})
    assert answer.status_code == 404
    assert httpx.get(f"{server.url}/livez", headers={header: "/x"}).status_code == 200


def test_forwarded_headers_of_an_untrusted_peer_are_ignored(server: KeyedServer) -> None:
    headers = {**FORWARDED, "Origin": server.url}
    answer = httpx.post(f"{server.url}/api/session", json={"token": server.token}, headers=headers)
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" not in cookie
    assert "Path=/;" in cookie
    moved = httpx.get(f"{server.url}/api//models", headers=FORWARDED)
    assert moved.headers["Location"] == f"{server.url}/api/models"


def test_forwarded_headers_of_a_trusted_proxy_are_used(proxied: HostileServer) -> None:
    moved = httpx.get(f"{proxied.url}/api//models", headers=FORWARDED)
    assert moved.headers["Location"].startswith("https://127.0.0.1")  # but never its X-Forwarded-Host
    assert "evil" not in moved.text


TOO_MUCH = {
    "a URL too long": (
        b"GET /api/images?search=" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        414,
        "uri_too_long",
    ),
    "a header too long": (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n", 431, "headers_too_large"),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    "an unknown expectation": (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n", 417, "expectation_failed"),
    "no HTTP": (b"\x16\x03\x01 hello\r\n\r\n", 400, "invalid_request"),
    "no version": (b"GET /\r\n\r\n", 400, "invalid_request"),
    "another version": (b"GET / HTTP/3.0\r\n\r\n", 400, "invalid_request"),
    "a method in small letters": (b"get / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
    "a header without a colon": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400, "invalid_request"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "invalid_request"),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400, "invalid_request"),
    "an unknown coding": (b"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 501, "not_implemented"),
    "a length that is none": (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "invalid_request"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_errors_of_the_server_itself_are_problem_documents(proxied: HostileServer, name: str) -> None:
    sent, status, code = TOO_MUCH[name]
    check_problem(proxied.raw(sent), status, code)


@pytest.mark.parametrize("chunks", [b"zz\r\nabc", b"3\r\nabcd\r\n0\r\n\r\n", b"3;\r\r\nabc\r\n0\r\n\r\n", b"5\r\nab"])
def test_malformed_chunked_bodies(proxied: HostileServer, chunks: bytes) -> None:
    head = b"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    check_problem(proxied.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks), 400, "invalid_request")


def check_problem(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(re.findall(r"^([\w-]+): (.*)$", head.decode().replace("\r", ""), re.MULTILINE))
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Connection"] == "close"
    assert int(headers["Content-Length"]) == len(body)
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["request_id"]) == (status, code, headers["X-Request-Id"])
    assert {"type", "title", "detail", "errors"} <= set(problem)


def test_these_codes_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "API_REFERENCE.md").read_text()
    for _, _, code in TOO_MUCH.values():
        assert f"`{code}`" in page

"""The protocol itself: versions, headers, what is no message."""

from __future__ import annotations

import mcp_types as mcp
import pytest

from app import create_app
from tests.api.mcp.messages import JSON, STATELESS, ask, error, message, result, stateless


@pytest.fixture(scope="module")
def client(settings_in, tmp_path_factory):
    app = create_app(settings_in(tmp_path_factory.mktemp("mcp")))
    yield app.test_client()
    app.extensions["cyberimage"].close()


def initialize(version: str) -> dict:
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2024-11-05"),
        ("2031-01-01", "2025-11-25"),
    ],
)
def test_a_handshake_agrees_on_a_version(client, wanted, agreed):
    found = result(ask(client, "initialize", initialize(wanted)))
    assert found["protocolVersion"] == agreed
    assert set(found["capabilities"]) == {"tools", "resources"}
    assert found["serverInfo"]["name"] == "cyberimage"
    assert "generate_image" in found["instructions"]
    assert "resultType" not in found


def test_discover_says_what_a_stateless_client_needs(client):
    body, headers = stateless("server/discover")
    found = result(client.post("/mcp", json=body, headers=JSON | headers))
    assert {STATELESS, "2025-06-18", "2025-11-25"} <= set(found["supportedVersions"])
    assert (found["resultType"], found["cacheScope"]) == ("complete", "private")
    assert found["ttlMs"] > 0
    assert found["_meta"][mcp.SERVER_INFO_META_KEY]["name"] == "cyberimage"


@pytest.mark.parametrize(
    ("header", "value", "number"),
    [
        ("Mcp-Method", "tools/list", mcp.HEADER_MISMATCH),
        ("Mcp-Method", None, mcp.HEADER_MISMATCH),
        ("Mcp-Name", "list_models", mcp.HEADER_MISMATCH),
        ("Mcp-Name", None, mcp.HEADER_MISMATCH),
        ("Mcp-Name", "=?base64?###?=", mcp.HEADER_MISMATCH),
        ("MCP-Protocol-Version", "2025-11-25", mcp.HEADER_MISMATCH),
        ("MCP-Protocol-Version", None, mcp.HEADER_MISMATCH),
    ],
)
def test_headers_and_body_must_agree(client, header, value, number):
    body, headers = stateless("tools/call", {"name": "search_gallery", "arguments": {}})
    assert client.post("/mcp", json=body, headers=JSON | headers).status_code == 200
    headers.pop(header)
    answer = client.post("/mcp", json=body, headers=JSON | headers | ({header: value} if value else {}))
    assert answer.status_code == 400
    assert error(answer)["code"] == number
    assert answer.json["id"] == 1


def test_a_name_may_be_encoded(client):
    body, headers = stateless("tools/call", {"name": "search_gallery", "arguments": {}})
    headers["Mcp-Name"] = "=?base64?c2VhcmNoX2dhbGxlcnk=?="
    assert client.post("/mcp", json=body, headers=JSON | headers).status_code == 200


def test_a_version_that_is_not_served_is_told_those_that_are(client):
    body, headers = stateless("tools/list")
    body["params"]["_meta"][mcp.PROTOCOL_VERSION_META_KEY] = headers["MCP-Protocol-Version"] = "2031-01-01"
    answer = client.post("/mcp", json=body, headers=JSON | headers)
    assert answer.status_code == 400
    assert error(answer)["code"] == mcp.UNSUPPORTED_PROTOCOL_VERSION
    assert error(answer)["data"]["supported"] == [STATELESS]
    answer = ask(client, "tools/list", **{"MCP-Protocol-Version": "2031-01-01"})
    assert (answer.status_code, error(answer)["code"]) == (400, mcp.UNSUPPORTED_PROTOCOL_VERSION)


def test_a_method_that_is_not_served(client):
    body, headers = stateless("prompts/list")
    answer = client.post("/mcp", json=body, headers=JSON | headers)
    assert (answer.status_code, error(answer)["code"]) == (404, mcp.METHOD_NOT_FOUND)
    answer = ask(client, "prompts/list")
    assert (answer.status_code, error(answer)["code"]) == (200, mcp.METHOD_NOT_FOUND)  # as before 2026
    body, headers = stateless("initialize")
    assert client.post("/mcp", json=body, headers=JSON | headers).status_code == 404


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"{", mcp.PARSE_ERROR),
        (b"\xff", mcp.PARSE_ERROR),
        (b"[" * 100_000, mcp.PARSE_ERROR),
        (b"[]", mcp.PARSE_ERROR),
        (b"{}", mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0"}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": 1}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', mcp.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', mcp.INVALID_REQUEST),
    ],
)
def test_what_is_no_message(client, body, number):
    answer = client.post("/mcp", data=body, headers=JSON | {"Content-Type": "application/json"})
    assert (answer.status_code, error(answer)["code"]) == (400, number)
    assert answer.json["id"] is None
    assert error(answer)["data"]["code"] == "invalid_request"
    assert error(answer)["data"]["request_id"] == answer.headers["X-Request-Id"]


def test_parameters_that_are_none_name_their_place(client):
    found = error(ask(client, "tools/call", {"arguments": {}}))
    assert found["code"] == mcp.INVALID_PARAMS
    assert "params.name" in found["message"]
    assert error(ask(client, "tools/call", {"name": "paint"}))["code"] == mcp.INVALID_PARAMS


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
    ],
)
def test_notifications_are_taken_and_have_no_answer(client, body):
    answer = client.post("/mcp", json=body, headers=JSON)
    assert (answer.status_code, answer.data) == (202, b"")


def test_ids_come_back_as_they_were(client):
    for id in (0, -3, "a", "1", 2**53):
        assert client.post("/mcp", json=message("ping", id=id)).json == {"jsonrpc": "2.0", "id": id, "result": {}}


def test_what_comes_back_with_every_message_is_short(client):
    params = {"name": "list_models", "_meta": {"progressToken": "x" * 257}}
    for body in (message("ping", id="x" * 257), message("ping", id=10**300), message("tools/call", params)):
        answer = client.post("/mcp", json=body)
        assert (answer.status_code, error(answer)["code"]) == (400, mcp.INVALID_REQUEST)
        assert len(answer.data) < 1000


def test_there_is_no_stream_to_get_and_no_session_to_end(client):
    for method in ("GET", "DELETE"):
        answer = client.open("/mcp", method=method)
        assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, {"OPTIONS", "POST"})
        assert error(answer)["data"]["code"] == "method_not_allowed"


def test_only_json_is_taken(client):
    """A form could be sent by a page of another site without asking."""
    for answer in (
        client.post("/mcp", data={"jsonrpc": "2.0"}),
        client.post("/mcp", data="{}", content_type="text/plain"),
    ):
        assert (answer.status_code, error(answer)["data"]["code"]) == (415, "unsupported_media_type")


def test_it_can_be_switched_off(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, facades="openai"))
    with app.test_client() as client:
        answer = client.post("/mcp", json=message("ping"))
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    app.extensions["cyberimage"].close()

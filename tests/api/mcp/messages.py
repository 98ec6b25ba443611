"""Messages of the Model Context Protocol as clients send them."""

from __future__ import annotations

from typing import Any

import mcp_types as mcp
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

STATELESS = "2026-07-28"
SSE = {"Accept": "application/json, text/event-stream"}
JSON = {"Accept": "application/json"}


def message(method: str, params: dict[str, Any] | None = None, id: int | str = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})}


def stateless(method: str, params: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of a request of 2026-07-28."""
    meta = {mcp.PROTOCOL_VERSION_META_KEY: STATELESS, mcp.CLIENT_CAPABILITIES_META_KEY: {}}
    params = {**(params or {}), "_meta": meta}
    headers = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": method}
    name = params.get("uri" if method == "resources/read" else "name")
    return message(method, params), headers | ({"Mcp-Name": name} if name else {})


def ask(client: FlaskClient, method: str, params: dict[str, Any] | None = None, **headers: str) -> TestResponse:
    return client.post("/mcp", json=message(method, params), headers=JSON | headers)


def call(client: FlaskClient, tool: str, headers: dict[str, str] | None = None, **arguments: Any) -> TestResponse:
    """A call of `tool`, answered as JSON unless the headers say otherwise."""
    body = message("tools/call", {"name": tool, "arguments": arguments})
    return client.post("/mcp", json=body, headers=JSON | (headers or {}))


def result(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"jsonrpc", "id", "result"}, answer.json
    return answer.json["result"]


def error(answer: TestResponse) -> dict[str, Any]:
    assert set(answer.json) == {"jsonrpc", "id", "error"}, answer.json
    return answer.json["error"]


def tool_error(answer: TestResponse) -> dict[str, Any]:
    """What is wrong, by the result of a tool that failed."""
    found = result(answer)
    assert found["isError"] is True
    assert found["content"][0]["text"].endswith(f"(code: {found['_meta']['cyberimage/error']['code']})")
    return found["_meta"]["cyberimage/error"]

"""Which function answers which method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as mcp
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

from app.api.mcp import resources, tools
from app.api.mcp.messages import Call, response, server_info
from app.api.mcp.protocol_error import ProtocolError
from app.api.mcp.waiting import Waited
from app.api.server.context import ApiContext

INSTRUCTIONS = (
    "CyberImage draws pictures and videos on its own server. Use generate_image for a new picture and edit_image to"
    " change one; show the user the link of each result. What takes long goes on after the answer: ask get_generation"
    " for its job_id. Nothing is lost when a call ends early."
)
_CAPABILITIES: dict[str, Any] = {"tools": {}, "resources": {}}


def answered(here: ApiContext, call: Call, idempotency_key: str | None) -> Waited:
    """The response to `call`. Raises ProtocolError for what is not served, and what a tool does."""
    if call.tool is not None:
        return _tool(call).call(here, call, idempotency_key)
    answer = _METHODS.get(call.method)
    if answer is None:
        raise ProtocolError(mcp.METHOD_NOT_FOUND, f"There is no method {call.method[:80]!r} here.")
    return response(call, answer(here, call))


def _tool(call: Call) -> tools.Tool:
    tool = tools.TOOLS.get(call.tool or "")
    if tool is None:
        known = ", ".join(tools.TOOLS)
        raise ProtocolError(mcp.INVALID_PARAMS, f"There is no tool {str(call.tool)[:80]!r}; there are {known}.")
    return tool


def _initialize(here: ApiContext, call: Call) -> dict[str, Any]:
    """Agrees on the client's version, or proposes the newest that has a handshake."""
    wanted = call.params["protocolVersion"]
    agreed = wanted if wanted in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION
    about = {"capabilities": _CAPABILITIES, "serverInfo": server_info(), "instructions": INSTRUCTIONS}
    return {"protocolVersion": agreed, **about}


def _discover(here: ApiContext, call: Call) -> dict[str, Any]:
    served = [*reversed(MODERN_PROTOCOL_VERSIONS), *reversed(HANDSHAKE_PROTOCOL_VERSIONS)]
    return {"supportedVersions": served, "capabilities": _CAPABILITIES, "instructions": INSTRUCTIONS}


_METHODS: Mapping[str, Callable[[ApiContext, Call], dict[str, Any]]] = {
    "initialize": _initialize,
    "server/discover": _discover,
    "ping": lambda here, call: {},
    "tools/list": lambda here, call: {"tools": tools.listed()},
    "resources/list": resources.list_resources,
    "resources/templates/list": lambda here, call: resources.resource_templates(),
    "resources/read": resources.read_resource,
}

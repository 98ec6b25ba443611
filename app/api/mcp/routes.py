"""POST /mcp. What it needs is imported with the first message: it takes 10 MB."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.api.http.openapi import blueprint
from app.api.native.generate import GenerateHeaders
from app.api.routing import Access, Budget
from app.api.schemas.mcp import McpError, McpResult
from app.api.server.context import api_context
from app.api.server.deferred_response import DeferredResponse
from app.errors import CyberImageError

api = blueprint("mcp", "MCP", "mcp")

_EVENTS: dict[str, Any] = {"text/event-stream": {"schema": {}}}
_NOTHING = {"description": "A notification: it is not answered."}
_FOUND = {
    "description": "The answer; as an event, after events about progress, if a tool waits and the client takes them.",
    "content": {"application/json": {"schema": McpResult.model_json_schema(mode="serialization")}, **_EVENTS},
}
_STATUSES = {400: "A message that is none.", 401: "No token, or a wrong one.", 404: "No such method, by 2026-07-28."}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/McpError"}}}
_ANSWERS: dict[Any, Any] = {
    200: _FOUND,
    202: _NOTHING,
    **{status: {"description": words, "content": _ERROR} for status, words in _STATUSES.items()},
    "default": McpError,
}


def _budget() -> Budget:
    from app.api.mcp.messages import current_call
    from app.api.mcp.tools import TOOLS

    try:
        call = current_call()
    except CyberImageError:  # counted all the same; the view raises it again
        return "read"
    tool = None if call is None else TOOLS.get(call.tool or "")
    return "read" if tool is None else tool.budget


@api.post(
    "/mcp",
    access=Access.USER,
    budget=_budget,
    accepts_files=True,
    raw_body=True,
    responses=_ANSWERS,
    description="The Model Context Protocol's Streamable HTTP: one JSON-RPC message as JSON. Versions 2026-07-28, and"
    " those with `initialize` before it. No session is kept and no stream is served by GET. What goes wrong in a tool"
    " is a result with `isError`. docs/CLIENTS.md lists the tools.",
)
def mcp(header: GenerateHeaders) -> Response | DeferredResponse:
    """Answer a message of the Model Context Protocol"""
    from app.api.mcp.dispatch import answered
    from app.api.mcp.messages import current_call

    call = current_call()
    return Response(status=202) if call is None else answered(api_context(), call, header.idempotency_key)

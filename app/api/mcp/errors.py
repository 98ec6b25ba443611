"""Errors as the Model Context Protocol words them.

What goes wrong with a tool is a result of the call that says so, which the assistant reads and can act on. All else is
an error of JSON-RPC, with a status for those who look at nothing but HTTP. mcp_types is imported with the first message
only: it takes 10 MB.
"""

from __future__ import annotations

import json
import math
from typing import Any

from flask import Response, request

from app.api.http.headers import request_id
from app.api.mcp.protocol_error import ProtocolError
from app.errors import CyberImageError, Forbidden, InvalidRequest, Unauthorized

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR, METHOD_NOT_FOUND = -32700, -32600, -32603, -32601
REFUSED = -32010  # ours: of a request that is refused whatever it asks
_STATUS = {METHOD_NOT_FOUND: 404, INTERNAL_ERROR: 200}  # from 2026-07-28 on; other numbers 400
_ABOUT = "cyberimage/error"


def error_response(error: CyberImageError, status: int) -> Response:
    """The response for `error`."""
    from app.api.mcp.messages import answer, known_call

    call = known_call()
    if call is not None and call.tool is not None and not isinstance(error, ProtocolError | Unauthorized | Forbidden):
        return _json(answer(call, tool_error(error)), 200)
    message = error_message(error, None if call is None else call.id)
    if not isinstance(error, ProtocolError):
        return _json(message, status)
    if error.http_status is not None or call is None or call.is_stateless:
        return _json(message, error.http_status or _STATUS.get(error.number, 400))
    return _json(message, 200)  # as servers of versions with a handshake answer


def tool_error(error: CyberImageError) -> dict[str, Any]:
    """The result of a tool's call that failed."""
    seconds = None if "Try again" in error.detail else error.retry_after
    again = "" if seconds is None else f" Try again in {math.ceil(seconds)} seconds."
    text = f"{_plain(error.detail)}{again} (code: {error.code})"
    about = _about(error) | {"retry_after": error.retry_after}
    return {"isError": True, "content": [{"type": "text", "text": text}], "_meta": {_ABOUT: about}}


def error_message(error: CyberImageError, call_id: int | str | None) -> dict[str, Any]:
    """The JSON-RPC message for `error`."""
    data = _about(error) | dict((error.data or {}) if isinstance(error, ProtocolError) else {})
    return {
        "jsonrpc": "2.0",
        "id": call_id,
        "error": {"code": _number(error), "message": _plain(error.detail), "data": data},
    }


def _number(error: CyberImageError) -> int:
    if isinstance(error, ProtocolError):
        return error.number
    if isinstance(error, InvalidRequest):
        return INVALID_REQUEST if "read_body" in vars(request) else PARSE_ERROR
    return INTERNAL_ERROR if error.status == 500 else REFUSED


def _about(error: CyberImageError) -> dict[str, Any]:
    wrong = [{"field": _plain(one.field), "message": one.message} for one in error.errors]
    return {"code": error.code, "errors": wrong, "request_id": request_id()}


def _plain(text: str) -> str:
    """Tools have no `settings`: their arguments are flat."""
    return text.replace("settings.", "")


def _json(message: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(message, ensure_ascii=False), status, mimetype="application/json")

"""JSON-RPC messages of the Model Context Protocol, read from the current request and written as its response.

Versions: those with a handshake (`initialize`, then the version in a header), and 2026-07-28, where every request says
its version, its method and its tool in the body and in headers, which must agree.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as mcp
from flask import Response, g, request
from mcp_types import methods
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from app.api.http import request_body
from app.api.mcp.protocol_error import ProtocolError
from app.errors import UnsupportedMediaType
from app.version import __version__

VERSION_HEADER, METHOD_HEADER, NAME_HEADER = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"
LONGEST_ID = 256  # characters
UNSAID_VERSION = "2025-03-26"  # of a request that has no header, by the protocol
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_CACHED_SECONDS = {"tools/list": 300, "server/discover": 300, "resources/templates/list": 300}
_CACHEABLE = frozenset({*_CACHED_SECONDS, "resources/list", "resources/read"})


@dataclass(frozen=True)
class Call:
    """A request that is answered. `params` are emptied once they were read: a call that waits keeps none of them."""

    id: int | str
    method: str
    version: str
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    tool: str | None = None
    progress_token: int | str | None = None

    @property
    def is_stateless(self) -> bool:
        """Whether its version has no handshake."""
        return self.version in MODERN_PROTOCOL_VERSIONS

    def forget(self) -> None:
        """Let go of the request's body, which may hold pictures."""
        self.params.clear()
        request_body.forget()


def current_call() -> Call | None:
    """The call of the current request; None for a notification. Raises ProtocolError, and what reading a body does."""
    if "mcp_call" not in g:
        if not request.is_json:
            raise UnsupportedMediaType("Send the message as JSON, with the header Content-Type: application/json.")
        g.mcp_call = _read(request.get_json())
    found: Call | None = g.mcp_call
    return found


def known_call() -> Call | None:
    """The call of the current request, if it has been read."""
    found: Call | None = g.get("mcp_call")
    return found


def response(call: Call, result: Mapping[str, Any]) -> Response:
    """The response that answers `call`."""
    return Response(json.dumps(answer(call, result), ensure_ascii=False), mimetype="application/json")


def answer(call: Call, result: Mapping[str, Any]) -> dict[str, Any]:
    """The message that answers `call`, in the words of its version."""
    whole = dict(result)
    if call.is_stateless:
        whole |= {
            "resultType": "complete",
            "_meta": {**whole.get("_meta", {}), mcp.SERVER_INFO_META_KEY: server_info()},
        }
        if call.method in _CACHEABLE:
            whole |= {"ttlMs": 1000 * _CACHED_SECONDS.get(call.method, 0), "cacheScope": "private"}
    return {
        "jsonrpc": "2.0",
        "id": call.id,
        "result": methods.serialize_server_result(call.method, call.version, whole),
    }


def event(message: Mapping[str, Any]) -> bytes:
    """A message as a server-sent event."""
    data = json.dumps(message)  # in ASCII: some readers of lines end one at U+2028, too
    return f"event: message\ndata: {data}\n\n".encode()


def server_info() -> dict[str, str]:
    return {"name": "cyberimage", "title": "CyberImage", "version": __version__}


def accepts_events() -> bool:
    """Whether the client of the current request takes server-sent events."""
    return "text/event-stream" in request.accept_mimetypes


def _read(body: Mapping[str, Any]) -> Call | None:
    if "id" not in body or ("method" not in body and body.keys() & {"result", "error"}):
        _check_notification(body)
        return None
    try:
        sent = mcp.JSONRPCRequest.model_validate(body)
    except ValidationError:
        raise ProtocolError(mcp.INVALID_REQUEST, _NO_REQUEST) from None
    _check_length("id", sent.id)
    params: dict[str, Any] = dict(body.get("params") or {})
    g.mcp_call = Call(sent.id, sent.method, UNSAID_VERSION)  # so that what is wrong is answered to its id
    version = _version(sent.method, params)
    g.mcp_call = Call(sent.id, sent.method, version)
    try:
        methods.validate_client_request(sent.method, version, params or None)
    except KeyError:
        raise ProtocolError(mcp.METHOD_NOT_FOUND, f"There is no method {sent.method[:80]!r} here.") from None
    except ValidationError as error:
        raise ProtocolError(mcp.INVALID_PARAMS, _complaint(error)) from None
    token = (params.get("_meta") or {}).get("progressToken")
    _check_length("progressToken", token)
    tool = params["name"] if sent.method == "tools/call" else None
    return Call(sent.id, sent.method, version, params, tool, token)


_NO_REQUEST = (
    'The body must be one JSON-RPC message: {"jsonrpc": "2.0", "id", "method", "params"}, its id a number or text.'
    " Batches are not taken."
)


def _check_length(name: str, value: object) -> None:
    """Of what is sent back with every message about the call."""
    if len(str(value)) > LONGEST_ID:
        raise ProtocolError(mcp.INVALID_REQUEST, f"The {name} may have {LONGEST_ID} characters.", status=400)


def _check_notification(body: Mapping[str, Any]) -> None:
    """Notifications, and answers to what was not asked, have no effect."""
    is_message = isinstance(body.get("method"), str) or ("method" not in body and "id" in body)
    if body.get("jsonrpc") != "2.0" or not is_message:
        raise ProtocolError(mcp.INVALID_REQUEST, _NO_REQUEST)


def _complaint(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_input=False)[:5]
    return "; ".join(f"{'.'.join(str(part)[:60] for part in one['loc'])}: {one['msg']}" for one in wrong)[:1000]


def _version(method: str, params: Mapping[str, Any]) -> str:
    """Raises ProtocolError for one that is not served, or said differently in body and headers."""
    said = request.headers.get(VERSION_HEADER)
    meta = params.get("_meta")
    own = meta.get(mcp.PROTOCOL_VERSION_META_KEY) if isinstance(meta, Mapping) else None
    if own is not None or said in MODERN_PROTOCOL_VERSIONS or method == "server/discover":
        return _stateless_version(method, params, said)
    if said is None:
        return HANDSHAKE_PROTOCOL_VERSIONS[-1] if method == "initialize" else UNSAID_VERSION
    if said not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise _unsupported(said, [*HANDSHAKE_PROTOCOL_VERSIONS, *MODERN_PROTOCOL_VERSIONS])
    return said


def _stateless_version(method: str, params: Mapping[str, Any], said: str | None) -> str:
    meta = params.get("_meta")
    needed = (mcp.PROTOCOL_VERSION_META_KEY, mcp.CLIENT_CAPABILITIES_META_KEY)
    missing = [key for key in needed if not isinstance(meta, Mapping) or key not in meta]
    if missing or not isinstance(meta, Mapping):
        raise ProtocolError(mcp.INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}.", status=400)
    version = meta[mcp.PROTOCOL_VERSION_META_KEY]
    for header, value in ((VERSION_HEADER, version), (METHOD_HEADER, method)):
        if request.headers.get(header) != value:
            raise _mismatch(header)
    name = params.get(_NAMED_BY.get(method, ""))
    if name is not None and _plain(request.headers.get(NAME_HEADER)) != name:
        raise _mismatch(NAME_HEADER)
    if version not in MODERN_PROTOCOL_VERSIONS:
        raise _unsupported(version, list(MODERN_PROTOCOL_VERSIONS))
    return str(version)


def _plain(header: str | None) -> str | None:
    """The value of a header that may be written as `=?base64?…?=`; None for one that cannot be read."""
    if header is None or not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _mismatch(header: str) -> ProtocolError:
    return ProtocolError(mcp.HEADER_MISMATCH, f"The header {header} does not say what the body says.", status=400)


def _unsupported(version: object, served: list[str]) -> ProtocolError:
    data = {"supported": served, "requested": str(version)[:80]}
    return ProtocolError(
        mcp.UNSUPPORTED_PROTOCOL_VERSION, "This version of the protocol is not served here.", data, status=400
    )

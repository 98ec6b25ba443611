"""Every error as an RFC 9457 problem document, or in a façade's own shape. The only place that catches everything;
nothing else here decides."""

from __future__ import annotations

import json
import logging
import math
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from flask import Flask, Response, current_app, request
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.routing import WebsocketMismatch

from app.api.http.headers import request_id as present_request_id
from app.api.routing import current_policy
from app.api.schemas.problems import Problem
from app.api.server.context import app_context
from app.core.field_aliases import second_name_of
from app.errors import (
    CyberImageError,
    FieldError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Unavailable,
    UnsupportedMediaType,
    UpgradeRequired,
)

MEDIA_TYPE = "application/problem+json"
MOST_FIELDS = 20  # a body can hold a hundred thousand wrong fields; its answer cannot
LONGEST_NAME = 100
MOST_DETAILS = 300  # characters of an unexpected error

log = logging.getLogger("cyberimage.api")

_OURS: dict[int, type[CyberImageError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    429: RateLimited,
}
_SHAPES = "cyberimage-error-shapes"
_OF_PROXIES = ("forwarded", "via", "x-forwarded-", "x-real-ip")  # how the names of their headers begin
_LOOPBACK_HOST = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?", re.IGNORECASE)
_WORDS = {"extra_forbidden": "is not a known field", "missing": "is required"}


@dataclass(frozen=True)
class ErrorShape:
    """How a façade words errors: `response` makes the response of an error and its status. It is used for the façade's
    routes, and for unknown URLs that begin with one of `prefixes`."""

    facade: str
    prefixes: tuple[str, ...]
    response: Callable[[CyberImageError, int], Response]


def add_shape(app: Flask, shape: ErrorShape) -> None:
    """Use `shape` for the errors of its façade."""
    app.extensions.setdefault(_SHAPES, []).append(shape)


def _shape() -> ErrorShape | None:
    shapes: list[ErrorShape] = current_app.extensions.get(_SHAPES, [])
    if request.url_rule is not None:
        facade = current_policy().facade
        return next((shape for shape in shapes if shape.facade == facade), None)
    return next((shape for shape in shapes if request.path.startswith(shape.prefixes)), None)


def register(app: Flask) -> None:
    app.register_error_handler(CyberImageError, problem)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(ParseException, _from_body)
    app.register_error_handler(ClientDisconnected, _from_a_body_cut_short)
    app.register_error_handler(Exception, _unexpected)


def problem(error: CyberImageError, status: int | None = None) -> Response:
    """The response for `error`, with its own status unless another is given."""
    shape = _shape()
    if shape is not None:
        response = shape.response(error, status or error.status)
    else:
        response = Response(json.dumps(document(error, status).as_dict()), status or error.status, mimetype=MEDIA_TYPE)
    response.headers.update(error.headers)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def document(error: CyberImageError, status: int | None = None, *, request_id: str | None = None) -> Problem:
    """`request_id` is the current request's, unless another is given."""
    return Problem.of(error, status=status, request_id=request_id or present_request_id())


def refuse(error: ValidationError) -> NoReturn:
    """Turn pydantic's complaints about a request into ours. Raises InvalidRequest."""
    wrong = [_field_error(one) for one in error.errors(include_url=False, include_input=False)[:MOST_FIELDS]]
    raise InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in wrong), errors=wrong) from None


def _field_error(complaint: Any) -> FieldError:
    path = ".".join(str(part)[:LONGEST_NAME] for part in complaint["loc"])
    message = _WORDS.get(complaint["type"]) or complaint["msg"].removeprefix("Value error, ")
    if complaint["type"] == "extra_forbidden" and (own := second_name_of(str(complaint["loc"][-1]))):
        message = f"is another name of {own}, which was sent too; send {own} only"
    return FieldError(path or "body", message)


def _from_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:  # a redirect
        return error
    if isinstance(error, WebsocketMismatch):
        return problem(_mismatch())
    ours = _OURS.get(status) or (InvalidRequest if status < 500 else CyberImageError)
    unmatched = status == 404 and request.url_rule is None
    words = f"No route matches {request.method} {request.path[:200]}; see /docs." if unmatched else error.description
    response = problem(ours(words or ""), status)
    for name, value in error.get_headers():
        if name in ("Allow", "Content-Range", "Retry-After"):
            response.headers[name] = value
    return response


def _mismatch() -> CyberImageError:
    """The error for a WebSocket's handshake elsewhere, and for another request to the URL of a WebSocket."""
    if (
        request.headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in request.headers.get("Connection", "").lower()
    ):
        return InvalidRequest(f"{request.path[:200]} is no WebSocket.")
    return UpgradeRequired(
        "Connect with a WebSocket client. A proxy in between has to pass on the headers Upgrade and Connection; see"
        " docs/DEPLOYMENT.md."
    )


def _from_body(_: ParseException) -> Response:
    return problem(InvalidRequest("The body is not framed as HTTP wants it: its chunks cannot be read."))


def _from_a_body_cut_short(error: ClientDisconnected) -> Response:
    if isinstance(error.__context__, ConnectionResetError):  # the server gave up waiting for it: see ClientSocket
        words = "The body did not come in time: the connection is too slow, or too many others are. Send it again."
        return problem(Unavailable(words, retry_after=5))
    return problem(InvalidRequest("The body ended before it was whole."))


def _unexpected(error: Exception) -> Response:
    return problem(unexpected(error))


def unexpected(error: Exception) -> CyberImageError:
    """Log a fault of our own; gives what the client is told of it."""
    log.error("Unexpected %s", type(error).__name__, exc_info=error, extra={"request_id": present_request_id()})
    details = f" {_details_of(error)}" if _is_developer() else ""
    words = f"Something went wrong in the server.{details} Its log has the details, by this request_id."
    return CyberImageError(words)


def _is_developer() -> bool:
    """Whether the client may see what an unexpected error says: with ENVIRONMENT=development, a program on this very
    machine that no proxy speaks for. A proxy that adds no header of its own is recognised by the Host it passes on."""
    forwarded = any(name.lower().startswith(_OF_PROXIES) for name, _ in request.headers)
    local = (request.remote_addr or "") in ("127.0.0.1", "::1") and bool(_LOOPBACK_HOST.fullmatch(request.host))
    return app_context().settings.environment == "development" and local and not forwarded


def _details_of(error: Exception) -> str:
    """Its kind, message and place, on one line."""
    places = traceback.extract_tb(error.__traceback__)
    place = f" at {places[-1].filename.rpartition('/')[2]}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_DETAILS]}{place}."

"""Responses to requests that gunicorn refuses before the application sees them: problem documents, as everywhere."""

from __future__ import annotations

import json
import logging
import uuid
from http import HTTPStatus
from typing import Any

from app.api.http.headers import ALWAYS, HEADER
from app.api.http.problems import MEDIA_TYPE, document
from app.errors import (
    CyberImageError,
    ExpectationFailed,
    HeadersTooLarge,
    InvalidRequest,
    NotImplementedHere,
    UriTooLong,
)
from app.server.gunicorn_internals import http_errors as http

log = logging.getLogger("cyberimage.server")

_RESPONSES: tuple[tuple[type[Exception], CyberImageError], ...] = (  # the first that matches
    (http.LimitRequestLine, UriTooLong("The request line is longer than 8190 bytes. Send less in the URL.")),
    (http.LimitRequestHeaders, HeadersTooLarge("There are more than 100 headers, or one is longer than 8190 bytes.")),
    (http.ExpectationFailed, ExpectationFailed("The only expectation that can be met is 100-continue.")),
    (http.UnsupportedTransferCoding, NotImplementedHere("Send the body as it is, or chunked.")),
    (http.InvalidHTTPVersion, InvalidRequest("The request is not HTTP/1.0 or HTTP/1.1.")),
    (http.InvalidRequestMethod, InvalidRequest("The method is not written as HTTP wants it: capital letters.")),
    (http.InvalidRequestLine, InvalidRequest("The first line is not written as HTTP wants it: METHOD /path HTTP/1.1.")),
    (http.ParseException, InvalidRequest("The request's headers or body are not written as HTTP wants them.")),
)


def refusal(error: Exception, address: Any) -> bytes:
    """The whole response for `error`, after which the connection is closed."""
    problem = None if _is_server_error(error) else _problem_of(error)
    request_id = uuid.uuid4().hex
    if problem is None:
        log.error("Unexpected %s", type(error).__name__, exc_info=error, extra={"request_id": request_id})
        problem = CyberImageError("Something went wrong in the server. Its log has the details, by this request_id.")
    else:
        log.warning("Refused a request from %s: %s", address[0] if address else "a local socket", type(error).__name__)
    return _response(problem, request_id)


def _problem_of(error: Exception) -> CyberImageError | None:
    return next((problem for kind, problem in _RESPONSES if isinstance(error, kind)), None)


def _is_server_error(error: Exception) -> bool:
    """A header that the application tried to send, or a setting, is not the client's error."""
    return isinstance(error, (http.InvalidResponseHeader, http.InvalidResponseHeaderName, http.ConfigurationProblem))


def _response(error: CyberImageError, request_id: str) -> bytes:
    body = json.dumps(document(error, request_id=request_id).as_dict()).encode()
    headers = {
        "Connection": "close",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        HEADER: request_id,
        **ALWAYS,
    }
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

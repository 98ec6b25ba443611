"""Every route by every method, spelling and identity: what may run whose view, and what every refusal says.

The views are replaced by recorders: an answer shows whether the guard let the request through, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.api.native.keyed import Keyed

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
SOMEBODY = "0123456789abcdef" * 2
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
# All that may run without a token. This list is literal on purpose: a route that becomes public is added here as well.
PUBLIC = {
    ("GET", "/"),
    ("GET", "/static/<path:filename>"),
    ("GET", "/docs"),
    ("GET", "/service-worker.js"),
    ("GET", "/offline"),
    ("GET", "/favicon.ico"),
    ("GET", "/openapi.json"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/health"),
    ("GET", "/api/session"),
    ("POST", "/api/session"),
    ("DELETE", "/api/session"),
    ("POST", "/api/webhooks/replicate"),
}
ADMIN = {
    "/cleanup",
    "/api/keys",
    "/api/keys/<path:key_id>",
    "/api/models/<path:model_id>/files",
    "/api/v1/models/load",
    "/api/v1/models/unload",
    "/api/v1/loras/load",
    "/api/v1/loras/unload",
}


@dataclass(frozen=True)
class Request:
    """One step of the walk."""

    rule: Rule
    method: str
    path: str

    def send(self, client: FlaskClient, query: str = "") -> TestResponse:
        upgrade = HANDSHAKE if self.rule.websocket else {}
        # The client would take what follows two slashes for a host.
        path = {"PATH_INFO": unquote(self.path)}
        return client.open("/", method=self.method, headers=upgrade, query_string=query, environ_overrides=path)


class Walk:
    """`faults` lists in words whatever a client got that it should not have got."""

    def __init__(self, keyed: Keyed) -> None:
        self.keyed = keyed
        self.ran: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        _record(keyed.app, self.ran)

    def faults(self, endpoint: str | None = None) -> Iterator[str]:
        """Of all routes, or of those of one endpoint."""
        for request in requests(self.keyed.app, endpoint):
            for name in ("nobody", "alice", "root"):
                self.ran.clear()
                self.keyed.app.extensions["cyberimage-access-control"]._login_throttle.clear()
                fault = self._fault(name, request, request.send(getattr(self.keyed, name)))
                if fault:
                    yield f"{request.method} {request.path} of {name}: {fault}"

    def _fault(self, name: str, request: Request, answer: TestResponse) -> str | None:
        if not self.ran:
            return _fault_of_refusal(name, request, answer)
        (view,) = self.ran
        rule = next(rule for rule in self.keyed.app.url_map.iter_rules() if rule.endpoint == view)
        method = "GET" if request.method == "HEAD" else request.method
        named = (method, canonical(rule.rule))
        self.seen.add((name, canonical(request.rule.rule)))
        if name == "nobody" and named not in PUBLIC:
            return f"ran {view} without a token"
        if name != "root" and named[1] in ADMIN:
            return f"ran {view}, which is an administrator's"
        if answer.status_code != 200 or answer.text != ("" if request.method == "HEAD" else view):
            return f"{answer.status_code} {answer.text!r}"
        return None


def canonical(rule: str) -> str:
    """The path that stands in the lists above for all spellings of a route."""
    return f"/api{rule}" if rule.startswith("/v1/") else rule


def _fault_of_refusal(name: str, request: Request, answer: TestResponse) -> str | None:
    """What is wrong with an answer that no view gave."""
    if answer.status_code == 200:
        is_automatic = request.method == "OPTIONS" and answer.data == b"" and "Allow" in answer.headers
        return None if is_automatic else f"200 {answer.text!r} from nowhere"
    if answer.status_code == 308:
        return None if re.match("(http|ws)://localhost/", answer.location) else f"leads to {answer.location}"
    expected = {401: "unauthorized", 403: "forbidden", 404: None, 405: "method_not_allowed"}
    if answer.status_code not in expected or (answer.status_code == 401 and name != "nobody"):
        return f"{answer.status_code} {answer.text!r}"
    if answer.status_code == 403 and name == "root":
        return "an administrator was refused"
    if request.method == "HEAD":
        return None if answer.data == b"" else "HEAD with a body"
    code, found = expected[answer.status_code], code_of(answer)
    if found is None:
        return f"no problem document: {answer.text!r}"
    return None if code in (None, found) else f"{answer.status_code} {found}"


def code_of(answer: TestResponse) -> str | None:
    """Our code of a problem document, or of an error in the shape of a façade; None for anything else."""
    body = answer.get_json(force=True)
    if answer.mimetype == "application/problem+json":
        return body["code"] if body["request_id"] == answer.headers["X-Request-Id"] else None
    if set(body) == {"error"}:  # OpenAI's
        return "unauthorized" if body["error"]["code"] == "invalid_api_key" else body["error"]["code"]
    if set(body) == {"error", "detail", "body", "errors"}:  # AUTOMATIC1111's
        return body["error"]
    if set(body) == {"jsonrpc", "id", "error"}:  # the Model Context Protocol's
        return body["error"]["data"]["code"]
    if set(body) == {"jsonrpc", "id", "result"}:
        return body["result"].get("_meta", {}).get("cyberimage/error", {}).get("code")
    return None


def plain(rule: Rule) -> str:
    """The path of a route with the id SOMEBODY in it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", SOMEBODY, rule.rule)


def requests(app: Flask, endpoint: str | None = None) -> Iterator[Request]:
    for rule in list(app.url_map.iter_rules(endpoint)):
        path = plain(rule)
        for method in METHODS:
            for spelling in sorted(spellings(path)):
                yield Request(rule, method, spelling)


def spellings(path: str) -> set[str]:
    """How somebody might write `path` to get round a comparison of strings."""
    first, rest = path[:2], path[2:]
    encoded = f"/%{ord(first[1]):02x}{rest}" if len(first) == 2 else "/%2e"
    return {path, path + "/", path.replace("/", "//"), encoded, path.upper(), "/." + path, path + ";x=1", path + "%20"}


def _record(app: Flask, ran: list[str]) -> None:
    def recorder(endpoint: str):
        def view(**_: object) -> str:
            ran.append(endpoint)
            return endpoint

        return view

    for endpoint in app.view_functions:
        app.view_functions[endpoint] = recorder(endpoint)

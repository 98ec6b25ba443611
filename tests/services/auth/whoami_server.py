"""A fake of the Hugging Face hub's token check on 127.0.0.1, with the hub's paths and answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def user(name: str, role: str = "read", *, orgs: tuple[str, ...] = (), **fine: Any) -> dict[str, Any]:
    """The hub's answer about a token of `name`."""
    token = {"displayName": "a token", "role": role, "createdAt": "2026-01-01T00:00:00.000Z"}
    if role == "fineGrained":
        token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": [], **fine}
    return {
        "type": "user",
        "id": f"id-of-{name}",
        "name": name,
        "fullname": name.title(),
        "orgs": [{"type": "org", "name": org} for org in orgs],
        "auth": {"type": "access_token", "accessToken": token},
    }


class WhoamiServer:
    """`with WhoamiServer({token: user(...)}) as hub: hub.url`. `asked` counts; `answer_with` makes it fail."""

    def __init__(self, users: dict[str, Any]) -> None:
        self.users = users
        self.asked = 0
        self.answer_with: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> WhoamiServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: WhoamiServer

    def do_GET(self) -> None:
        self.hub.asked += 1
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.path != "/api/whoami-v2":
            self._answer(404, {"error": "Not found"})
        elif self.hub.answer_with is not None:
            self._answer(self.hub.answer_with, {"error": "Too busy"})
        elif token in self.hub.users:
            self._answer(200, self.hub.users[token])
        else:
            self._answer(401, {"error": "Invalid username or password."})

    def _answer(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""

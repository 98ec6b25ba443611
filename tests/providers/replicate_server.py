"""A fake of Replicate on loopback: its HTTP API, states and webhooks, with faults on demand.

What a prediction does stands in `scripts`, by the prompt that asks for it. Everything that was asked is kept, so that a
test can count what would have been paid for.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from standardwebhooks import Webhook

from tests.providers import media
from tests.providers.schemas import CLIP, PAINTER, SIZED

TOKEN = "r8_not_a_real_one"
SECRET = "whsec_" + "QUJD" * 10
PAGE = 5  # predictions in one page of the list
TERMINAL = ("succeeded", "failed", "canceled", "aborted")


@dataclass
class Script:
    """The course of a prediction. `fetches` are for the first fetches of an output: a status, "cut", "garbage", or
    "stall": some bytes, then silence."""

    seconds: float = 0.1
    ends: str = "succeeded"
    error: str | None = None
    files: tuple[bytes, ...] = (media.picture(),)
    fetches: list[int | str] = field(default_factory=list)
    webhooks: tuple[str, ...] = ("starting", "end")  # sent in this order; "end" may come twice
    hold: threading.Event | None = None  # it does not end before this is set
    output: Any = None  # instead of the URLs of the files
    predict_seconds: float = 1.5


@dataclass
class Prediction:
    id: str
    model: str
    version: str | None
    input: dict[str, Any]
    webhook: str | None
    script: Script
    created: float = field(default_factory=time.time)
    status: str = "starting"
    logs: str = ""

    def body(self, server: StandIn) -> dict[str, Any]:
        urls = [f"{server.url}/outputs/{self.id}/{number}" for number in range(len(self.script.files))]
        made = self.script.output if self.script.output is not None else urls
        ended = self.status in TERMINAL
        return {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "input": self.input,
            "status": self.status,
            "output": made if self.status == "succeeded" else None,
            "error": self.script.error if ended else None,
            "logs": self.logs,
            "created_at": datetime.fromtimestamp(self.created, UTC).isoformat().replace("+00:00", "Z"),
            "metrics": {"predict_time": self.script.predict_seconds} if ended else {},
            **({"webhook": self.webhook} if server.echoes_webhooks else {}),
        }


class StandIn(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.models: dict[str, dict[str, Any]] = {}
        self.scripts: dict[str, Script] = {}
        self.predictions: dict[str, Prediction] = {}
        self.files: dict[str, bytes] = {}
        self.cancels: list[str] = []
        self.fetched: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.answers: list[tuple[int, dict[str, str], Any]] = []  # given to the next creates instead of a prediction
        self.drop_creates = 0  # so many creates are done and never answered
        self.hanging: set[str] = set()  # "create", "poll", "model", "list": done, and answered when `release` is set
        self.release = threading.Event()
        self.tokens_seen: set[str | None] = set()  # where outputs are fetched from: there must be none
        self.echoes_webhooks = True
        self.lock = threading.RLock()
        self.add_model("acme/painter", PAINTER, official=True)
        self.add_model("acme/sized", SIZED)
        self.add_model("acme/clip", CLIP)

    def add_model(self, name: str, document: dict[str, Any], *, official: bool = False) -> None:
        owner, _, short = name.partition("/")
        self.models[name] = {
            "owner": owner,
            "name": short,
            "description": f"A model called {short}",
            "is_official": official,
            "run_count": 7,
            "cover_image_url": None,
            "latest_version": {"id": uuid.uuid5(uuid.NAMESPACE_URL, name).hex, "openapi_schema": deepcopy(document)},
        }

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up."""

    # --- the life of a prediction

    def create(self, model: str, version: str | None, body: dict[str, Any]) -> Prediction:
        script = self.scripts.get(str(body["input"].get("prompt")), Script())
        made = Prediction(uuid.uuid4().hex[:26], model, version, body["input"], body.get("webhook"), script)
        with self.lock:
            self.predictions[made.id] = made
        threading.Thread(target=self._live, args=(made,), daemon=True).start()
        return made

    def _live(self, made: Prediction) -> None:
        script = made.script
        messages = list(script.webhooks)
        if messages and messages[0] == "starting":
            self.send_webhook(made, messages.pop(0))
        time.sleep(script.seconds / 2)
        self._move(made, "processing", "50%|#####     | 2/4 [00:01<00:01]")
        time.sleep(script.seconds / 2)
        if script.hold is not None:
            script.hold.wait(120)
        if script.ends != "never":
            self._move(made, script.ends)
            for what in messages:
                self.send_webhook(made, what)

    def _move(self, made: Prediction, status: str, logs: str = "") -> None:
        with self.lock:
            if made.status not in TERMINAL:
                made.status, made.logs = status, logs or made.logs

    def send_webhook(self, made: Prediction, what: str, *, secret: str = SECRET, at: float | None = None) -> int | None:
        """Send a webhook about it, with its current or an earlier state. Returns the response."""
        if made.webhook is None:
            return None
        body = made.body(self) | ({} if what == "end" else {"status": what, "output": None, "error": None})
        return self.deliver(made.webhook, json.dumps(body), secret=secret, at=at)

    def deliver(self, url: str, text: str, *, secret: str = SECRET, at: float | None = None) -> int | None:
        when = datetime.fromtimestamp(at or time.time(), UTC)
        name = f"msg_{uuid.uuid4().hex}"
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(secret).sign(name, when, text),
        }
        with contextlib.suppress(httpx.HTTPError):
            return httpx.post(url, content=text, headers=headers, timeout=10).status_code
        return None

    def created_for(self, prompt: str) -> list[Prediction]:
        return [made for made in self.predictions.values() if made.input.get("prompt") == prompt]


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        parts = path.strip("/").split("/")
        if parts[0] == "outputs":
            self._give_output(*parts[1:])
        elif parts[0] == "files":
            self._send_bytes(self.server.files[parts[1]])
        elif self._allowed():
            self._get(parts[1:], query)

    def _hang(self, what: str) -> None:
        if what in self.server.hanging:
            self.server.release.wait(120)

    def _get(self, parts: list[str], query: str) -> None:
        server = self.server
        self._hang("model" if parts[0] == "models" else "list" if parts == ["predictions"] else "poll")
        if parts == ["models"]:
            self._send(200, {"results": list(server.models.values()), "next": None})
        elif parts[0] == "models" and len(parts) == 5 and parts[3] == "versions":
            own = server.models.get("/".join(parts[1:3]), {}).get("versions", {})
            self._send(200, {"id": parts[4]}) if parts[4] in own else self._send(404, {"detail": "No such version"})
        elif parts[0] == "models" and "/".join(parts[1:3]) in server.models:
            self._send(200, server.models["/".join(parts[1:3])])
        elif parts == ["predictions"]:
            self._list(int(query.partition("=")[2] or 0))
        elif parts[0] == "predictions" and parts[1] in server.predictions:
            self._send(200, server.predictions[parts[1]].body(server))
        elif parts == ["webhooks", "default", "secret"]:
            self._send(200, {"key": SECRET})
        else:
            self._send(404, {"detail": "The requested resource could not be found."})

    def _list(self, start: int) -> None:
        newest = sorted(self.server.predictions.values(), key=lambda made: made.created, reverse=True)
        page = [made.body(self.server) for made in newest[start : start + PAGE]]
        more = start + PAGE < len(newest)
        following = f"https://elsewhere.example/v1/predictions?cursor={start + PAGE}" if more else None
        self._send(200, {"results": page, "next": following, "previous": None})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._allowed():
            return
        parts, server = self.path.strip("/").split("/")[1:], self.server
        if parts == ["files"]:
            name = uuid.uuid4().hex
            server.files[name] = raw.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
            self._send(201, {"id": name, "urls": {"get": f"{server.url}/files/{name}"}})
        elif parts[-1] == "cancel":
            self._cancel(parts[1])
        elif parts == ["predictions"]:
            self._create(json.loads(raw))
        elif parts[0] == "models" and parts[-1] == "predictions":
            self._create(json.loads(raw), "/".join(parts[1:3]))
        else:
            self._send(404, {"detail": "Not found."})

    def _create(self, body: dict[str, Any], model: str | None = None) -> None:
        server = self.server
        version = body.get("version")
        if model is None:
            ids = {known["latest_version"]["id"]: name for name, known in server.models.items()}
            model = ids.get(version)
        if model is None or model not in server.models:
            self._send(422, {"title": "Invalid version", "detail": "The specified version does not exist."})
            return
        with server.lock:
            answer = server.answers.pop(0) if server.answers else None
        if answer is not None:
            self._send(answer[0], answer[2], answer[1])
            return
        made = server.create(model, version, body)
        with server.lock:
            dropped, server.drop_creates = server.drop_creates > 0, max(0, server.drop_creates - 1)
        if dropped:
            self.close_connection = True
            return
        self._hang("create")
        self._send(201, made.body(server))

    def _cancel(self, name: str) -> None:
        self.server.cancels.append(name)
        made = self.server.predictions.get(name)
        if made is None:
            self._send(404, {"detail": "Not found."})
            return
        self.server._move(made, "canceled")
        if made.script.hold is not None:
            made.script.hold.set()
        self._send(200, made.body(self.server))

    def _give_output(self, name: str, number: str) -> None:
        server = self.server
        made = server.predictions[name]
        server.tokens_seen.add(self.headers.get("Authorization"))
        server.fetched.append(self.path)
        with server.lock:
            how = made.script.fetches.pop(0) if made.script.fetches else "whole"
        content = made.script.files[int(number)]
        if isinstance(how, int):
            self._send(how, {"detail": "not now"})
        elif how == "stall":
            self._send_bytes(content[:20], announced=len(content))
            self.wfile.flush()
            server.release.wait(120)
        elif how == "cut":
            self._send_bytes(content, announced=len(content) + 1000)
        else:
            self._send_bytes(b"<html>not a picture</html>" if how == "garbage" else content)

    def _allowed(self) -> bool:
        self.server.asked.append((self.command, self.path))
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._send(401, {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token"})
        return False

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_bytes(self, content: bytes, announced: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(announced or len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = announced is not None

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def replicate() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    for script in server.scripts.values():
        if script.hold is not None:
            script.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()

"""A fake of an engine server with the routes of SGLang-Diffusion and vLLM-Omni: what it draws depends on what is asked.
`answers` are returned first. As a program: python -m tests.providers.engine_server PORT"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, jsonify, request
from PIL import Image
from werkzeug.serving import BaseWSGIServer, make_server

Answer = tuple[int, Mapping[str, Any], Mapping[str, str]]


class EngineServerFake:
    def __init__(self, port: int = 0) -> None:
        self.asked: list[dict[str, Any]] = []  # members, `path`, and `pictures` as sent
        self.headers: list[Mapping[str, str]] = []
        self.answers: list[Answer] = []
        self.gate = threading.Event()  # answers wait until it is set
        self.gate.set()
        self._app = Flask("engine server")
        self._app.add_url_rule("/v1/images/generations", view_func=self._generations, methods=["POST"])
        self._app.add_url_rule("/v1/images/edits", view_func=self._edits, methods=["POST"])
        self._port = port
        self._server: BaseWSGIServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self._port, self._app, threaded=True)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _generations(self) -> tuple[Response, int, Mapping[str, str]]:
        return self._answer(dict(request.get_json()), [])

    def _edits(self) -> tuple[Response, int, Mapping[str, str]]:
        return self._answer(request.form.to_dict(), [each.read() for each in request.files.getlist("image")])

    def _answer(self, asked: dict[str, Any], pictures: list[bytes]) -> tuple[Response, int, Mapping[str, str]]:
        self.asked.append(asked | {"path": request.path, "pictures": pictures})
        self.headers.append(dict(request.headers))
        self.gate.wait(30)
        if self.answers:
            status, body, headers = self.answers.pop(0)
            return jsonify(body), status, headers
        width, height = (int(side) for side in str(asked.get("size", "64x64")).split("x"))
        told = [{"b64_json": base64.b64encode(drawn(asked, pictures, width, height)).decode(), "url": None}]
        return jsonify({"created": 1, "data": told * int(asked["n"])}), 200, {}


def drawn(asked: Mapping[str, Any], pictures: list[bytes], width: int, height: int) -> bytes:
    """A picture in a colour of its own; without a seed, always the same."""
    words = [str(asked.get(name)) for name in ("prompt", "seed", "num_inference_steps", "guidance_scale")]
    digest = hashlib.sha256("|".join(words).encode() + b"".join(pictures)).digest()
    content = io.BytesIO()
    Image.new("RGB", (width, height), tuple(digest[:3])).save(content, "PNG")
    return content.getvalue()


@contextmanager
def engine_server() -> Iterator[EngineServerFake]:
    fake = EngineServerFake()
    yield fake
    fake.gate.set()
    fake.stop()


if __name__ == "__main__":
    EngineServerFake(int(sys.argv[1]))
    threading.Event().wait()

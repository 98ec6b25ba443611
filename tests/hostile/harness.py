"""Two servers: one stands for the public internet, one for an internal service that must not be reached."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hostile.pictures import bomb, png


class Harness:
    """`visited` are the paths requested from the internal service."""

    def __init__(self) -> None:
        self.visited: list[str] = []
        self._secret = self._start(self._secret_handler())
        self.secret_port = self._secret.server_port
        self._public = self._start(self._public_handler())
        self.public_port = self._public.server_port

    def close(self) -> None:
        for server in (self._secret, self._public):
            server.shutdown()
            server.server_close()

    @staticmethod
    def _start(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _secret_handler(self) -> type[BaseHTTPRequestHandler]:
        visited = self.visited

        class Secret(_Silent):
            def do_GET(self) -> None:
                visited.append(self.path)
                self.answer(png(64, 64), "image/png")

            do_POST = do_GET

        return Secret

    def _public_handler(self) -> type[BaseHTTPRequestHandler]:
        secret = self.secret_port
        targets = {
            "/to-loopback": f"http://127.0.0.1:{secret}/",
            "/to-a-name": f"http://inside.test:{secret}/",
            "/to-metadata": "http://169.254.169.254/latest/meta-data/",
            "/to-a-file": "file:///etc/passwd",
            "/in-circles": "/in-circles",
            "/step-1": "/step-2",
            "/step-2": f"http://127.0.0.1:{secret}/",
        }

        class Public(_Silent):
            def do_GET(self) -> None:
                if self.path in targets:
                    self.send_response(302)
                    self.send_header("Location", targets[self.path])
                    self.end_headers()
                elif self.path == "/endless":
                    self._drip(b"\x89PNG\r\n\x1a\n" + bytes(64_000), pause=0.0)
                elif self.path == "/slow":
                    self._drip(b"\0", pause=0.1)
                elif self.path == "/bomb.png":
                    self.answer(bomb(), "image/png")
                elif self.path == "/page":
                    self.answer(b"<html>not a picture</html>", "image/png")
                else:
                    self.answer(png(64, 64), "image/png")

            def _drip(self, piece: bytes, pause: float) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                for _ in range(3000):
                    try:
                        self.wfile.write(piece)
                    except OSError:
                        return
                    time.sleep(pause)

        return Public


class _Silent(BaseHTTPRequestHandler):
    def answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""

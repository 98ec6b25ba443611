"""A small model hub on 127.0.0.1 that speaks as much of the Hugging Face hub's protocol as a download needs.

Repos: those given (served from folders), and four that answer with the hub's own refusals. Of a repo whose name ends in
`-cut` or `-stalled` each large file breaks off in the middle, or goes silent there, the first time that it is asked
for. Of a repo `lying/…` the files are not what is said of them: see `_lie`. Run it as a context manager.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {  # repo → (status, the hub's X-Error-Code)
    "tiny/gated": (403, "GatedRepo"),
    "tiny/private": (401, "RepoNotFound"),
    "tiny/gone": (404, "RepoNotFound"),
    "tiny/broken": (500, None),
}


LARGE = 50_000  # bytes
SILENCE_SECONDS = 60.0
ENDLESS = 200_000_000  # bytes: far more than are in flight


class HubServer:
    """`with HubServer({"tiny/flux": folder}) as hub: hub.url`. `requests` lists "METHOD path" of all that was asked,
    and `starts` (path, first byte) of each file that was."""

    def __init__(self, repos: dict[str, Path]) -> None:
        self.requests: list[str] = []
        self.starts: list[tuple[str, int]] = []
        self._closing = threading.Event()
        members = {"repos": repos, "asked": self.requests, "starts": self.starts, "closing": self._closing}
        handler = type("Handler", (_Handler,), members | {"troubled": set()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repos: dict[str, Path]
    asked: list[str]
    starts: list[tuple[str, int]]
    closing: threading.Event
    troubled: set[str]

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.asked.append(f"{self.command} {path}")
        if path == "/close":  # the network goes away
            self._answer(b"{}")
            threading.Thread(target=lambda: (self.server.shutdown(), self.server.server_close())).start()
            return
        is_api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        repo, rest = "/".join(parts[:2]), parts[2:]
        if repo in REFUSALS and not (repo == "tiny/gated" and is_api):  # the list of a gated repo is public
            self._refuse(*REFUSALS[repo])
        elif is_api and (repo in self.repos or repo in ("tiny/gated", "lying/listing")):
            self._api(repo, rest)
        elif len(rest) > 2 and rest[0] == "resolve" and repo in self.repos:
            self._file(repo, self.repos[repo] / "/".join(rest[2:]))
        else:
            self._refuse(404, "RepoNotFound")

    do_HEAD = do_GET

    def _api(self, repo: str, rest: list[str]) -> None:
        if repo == "lying/listing":
            self._endless({}, b" ")
            return
        folder = self.repos.get(repo)
        files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder else []
        names = [file.relative_to(folder).as_posix() for file in files] if folder else ["model_index.json"]
        sizes = [file.stat().st_size for file in files] or [2]
        if rest[:1] == ["tree"]:
            rows = [{"type": "file", "path": n, "size": s, "oid": "0" * 40} for n, s in zip(names, sizes, strict=True)]
            self._answer(json.dumps(rows).encode())
            return
        siblings = [{"rfilename": name, "size": size} for name, size in zip(names, sizes, strict=True)]
        info = {"id": repo, "sha": COMMIT, "siblings": siblings}
        self._answer(json.dumps(info | {"private": False, "gated": "manual" if not folder else False}).encode())

    def _file(self, repo: str, file: Path) -> None:
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
            return
        data = file.read_bytes()
        if repo.startswith("lying/"):
            self._lie(repo.removeprefix("lying/"), data)
            return
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if self.command == "GET":
            self.starts.append((unquote(urlparse(self.path).path), start))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "GET" and len(data) > LARGE and "-" in repo and self.path not in self.troubled:
            self.troubled.add(self.path)
            self._half(data[start:], headers, silent=repo.endswith("-stalled"))
            return
        self._answer(data[start:], headers, 206 if start else 200)

    def _lie(self, how: str, data: bytes) -> None:
        """Answer as a malicious hub, or a server in its place, might."""
        etag = hashlib.sha256(data).hexdigest()
        if how == "redirects":
            self._answer(b"", {"Location": self.path, "ETag": f'"{etag}"'}, 302)
        elif how == "etag":  # it becomes a name in the cache
            self._answer(data, {"ETag": '"../../../../escaped"'})
        elif how == "hash":
            self._answer(data, {"ETag": f'"{"0" * 64}"'})
        elif how == "size" and self.command == "HEAD":
            self._answer(b"", {"ETag": f'"{etag}"', "Content-Length": str(10**12)})
        elif how == "endless" and self.command == "GET":
            self._endless({"ETag": f'"{etag}"'}, b"x")
        else:
            self._answer(data, {"ETag": f'"{etag}"'})

    def _endless(self, headers: dict[str, str], byte: bytes) -> None:
        self.send_response(200)
        for name, value in ({"X-Repo-Commit": COMMIT} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # it had enough
            for _ in range(ENDLESS // LARGE):
                self.wfile.write(byte * LARGE)
            self.asked.append("endless body was read to its end")

    def _half(self, data: bytes, headers: dict[str, str], *, silent: bool) -> None:
        """Promise all of `data`, send half of it, and then nothing, or hang up."""
        self._answer(data[: len(data) // 2], headers | {"Content-Length": str(len(data))})
        if silent:
            self.closing.wait(SILENCE_SECONDS)
        self.close_connection = True

    def _answer(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in ({"X-Repo-Commit": COMMIT, "Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str | None) -> None:
        self._answer(b'{"error": "no"}', {"X-Error-Code": code} if code else {}, status)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""

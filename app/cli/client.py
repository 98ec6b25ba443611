"""HTTP client of a running server, for the commands that talk to one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import httpx

from app.cli.common import EXIT_UNAVAILABLE

DEFAULT_URL = "http://127.0.0.1:5050"
TIMEOUT_SECONDS = 30.0
STREAM_SILENCE_SECONDS = 60.0  # longer than the server's keepalive comments are apart

Command = TypeVar("Command", bound=Callable[..., Any])
Event = tuple[str, dict[str, Any]]  # its name and its data


class ServerUnavailable(click.ClickException):
    exit_code = EXIT_UNAVAILABLE


def server_options(command: Command) -> Command:
    """Decorator: --url and --token, which also come from the environment."""
    token = click.option("--token", envvar="CYBERIMAGE_TOKEN", help="API key or hub token ($CYBERIMAGE_TOKEN).")
    url = click.option("--url", envvar="CYBERIMAGE_URL", default=DEFAULT_URL, help="The server ($CYBERIMAGE_URL).")
    return url(token(command))


class Client:
    """Calls one server. Raises ServerUnavailable when none answers, ClickException with the server's own sentence when
    it refuses."""

    def __init__(self, url: str, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=self._url, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise click.UsageError(f"--url {url}: {error}") from None

    def get(self, path: str) -> dict[str, Any]:
        return self._json("GET", path)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._json("POST", path, json=body or {})

    def download(self, path: str) -> bytes:
        with self._connected():
            return _checked(self._http.get(path)).content

    def events(self, path: str) -> Iterator[Event]:
        """The server-sent events of `path`, until the server ends the stream."""
        with self._connected(), self._http.stream("GET", path, timeout=STREAM_SILENCE_SECONDS) as response:
            if response.is_error:
                response.read()
            yield from _events(_checked(response).iter_lines())

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with self._connected():
            response = _checked(self._http.request(method, path, **options))
        try:
            found: dict[str, Any] = response.json()
        except ValueError:
            raise click.ClickException(f"{self._url} answered no JSON; is it a CyberImage?") from None
        return found

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            advice = "Start it with `cyberimage run`, or name another server with --url."
            raise ServerUnavailable(f"No server answers at {self._url} ({error}). {advice}") from None
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"The connection to {self._url} broke: {error or type(error).__name__}") from None


def _checked(response: httpx.Response) -> httpx.Response:
    """Raises ClickException for an error status, with the detail, the fields at fault and the code of the server."""
    if not response.is_error:
        return response
    try:
        problem = response.json()
        lines = [f"{problem['detail']} ({problem['code']})"]
        errors = problem.get("errors") or ()
        lines += [f"  {one['field']}: {one['message']}" for one in errors if len(errors) > 1]
    except (ValueError, KeyError, TypeError):
        lines = [f"The server answered {response.status_code} {response.reason_phrase}."]
    if response.status_code == 401:
        lines.append("Give an API key with --token or $CYBERIMAGE_TOKEN.")
    raise click.ClickException("\n".join(lines))


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events as the HTML standard has them; comments and ids are skipped."""
    name, data = "message", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield name, json.loads(data)
            name, data = "message", ""
        elif field == "event":
            name = value
        elif field == "data":
            data += value

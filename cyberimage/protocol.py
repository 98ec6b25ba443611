"""What both clients have in common: bodies, paths, retries and the format of event streams. No I/O but input files."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from cyberimage.errors import Error, JobFailed, Refused, Unreachable
from cyberimage.models import Event, Image, Job

DEFAULT_URL = "http://127.0.0.1:5050"
STREAM_SILENCE_SECONDS = 60.0  # longer than the server's keepalive comments are apart
STREAM_PAUSE_SECONDS = 0.5  # before a stream is opened again that ended while its job goes on
MAX_PAUSE_SECONDS = 30.0
MOST_EVENT_BYTES = 8_000_000  # of a line and of an event: a preview needs less than one
MOST_JSON_BYTES = 64_000_000
_ID = re.compile(r"[0-9a-f]{32}")
_OF_THE_ENCODING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

Picture = bytes | os.PathLike[str] | str  # bytes, a file, or a string for the server: a URL, a gallery id, base64
Job_ = Job | str
Image_ = Image | str


def job_id(job: Job_) -> str:
    """Raises Error for what is no id: it would change the path of the request."""
    return _checked_id(job.id if isinstance(job, Job) else job, "job")


def image_id(image: Image_) -> str:
    """Raises Error, as `job_id`."""
    return _checked_id(image.id if isinstance(image, Image) else image, "image")


def _checked_id(found: str, what: str) -> str:
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise Error(f"{found!r:.80} is no id of a {what}: those are 32 hexadecimal digits, in lower case.")
    return found


def checked_path(path: str) -> str:
    """Raises Error for the URL of another server, which must not get the token."""
    if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        raise Error(f"{path!r:.80} is no path on the server: it begins with one slash, as /api/models.")
    return path


def generate_body(
    prompt: str, model_id: str | None, image: Picture | None, mask: Picture | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """The body of POST /api/generate. What is None is left out: the model's own defaults apply."""
    inputs = {"image": image, "mask": mask}
    body = {"prompt": prompt, "model_id": model_id} | {name: _text(one) for name, one in inputs.items()}
    return {name: value for name, value in (body | fields).items() if value is not None}


def _text(picture: Picture | None) -> str | None:
    if isinstance(picture, os.PathLike):
        picture = Path(picture).read_bytes()
    return base64.b64encode(picture).decode() if isinstance(picture, bytes) else picture


def base_url(url: str) -> httpx.URL:
    """Raises Error for anything but http and https, and for a user name or password, which would be shown in errors."""
    if "@" in url:
        raise Error("The URL holds an @, as before it a user name or password stands. Give the key as `token`.")
    try:
        parsed = httpx.URL(url.rstrip("/"))
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise Error(f"{url!r} is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Error(f"{url!r} is no URL of a server. It looks like {DEFAULT_URL}")
    return parsed


def headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def pause_before_retry(attempt: int, error: Error) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0): doubles from half a second, with jitter; at least
    the server's Retry-After. Raises `error` when the request is not to be sent again."""
    wanted = 0.0
    if isinstance(error, Refused):
        wanted = error.retry_after or 0.0
        if error.status not in RETRIED_STATUSES or wanted > MAX_PAUSE_SECONDS:
            raise error
    doubled = min(0.5 * 2.0**attempt, MAX_PAUSE_SECONDS)
    return max(wanted, doubled * random.uniform(0.75, 1.0))


def poll_pauses(timeout: float | None) -> Iterator[float | None]:
    """Seconds to wait between two looks at a job, growing from 0.1 to 2; None when `timeout` seconds are over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.1
    while True:
        yield None if deadline is not None and time.monotonic() + pause > deadline else pause
        pause = min(pause * 1.5, 2.0)


def completed(job: Job) -> Job:
    """Raises JobFailed for a job that has ended without images."""
    if job.status != "COMPLETED":
        raise JobFailed(job)
    return job


@contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """Translate httpx's errors in a call of the server at `url`."""
    try:
        yield
    except httpx.TransportError as error:
        raise Unreachable(f"No answer from {url}: {error or type(error).__name__}") from error
    except httpx.RequestError as error:  # its body cannot be decoded, or it redirects for ever
        raise Error(f"{url} gave no usable answer: {error or type(error).__name__}") from error


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Raises Error for an answer that is not a JSON object."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Error(f"{response.url} answered no JSON object; is it a CyberImage?")
    return found


def checked(response: httpx.Response) -> httpx.Response:
    """Raises Refused for any status but a success: a redirect's page is not what was asked for."""
    if not response.is_success:
        raise Refused(response)
    return response


class Body:
    """Collects the body of a streamed response. Only a file that was asked for may be larger than MOST_JSON_BYTES."""

    def __init__(self, response: httpx.Response, *, file: bool = False) -> None:
        self._response, self._content = response, bytearray()
        self._unlimited = file and response.is_success

    def feed(self, chunk: bytes) -> None:
        """Raises Error when it grows too large."""
        self._content += chunk
        if len(self._content) > MOST_JSON_BYTES and not self._unlimited:
            raise Error(f"{self._response.url} answered more than {MOST_JSON_BYTES:,} bytes; is it a CyberImage?")

    def response(self) -> httpx.Response:
        """The response with this body, which is decoded already."""
        of = self._response
        kept = [one for one in of.headers.multi_items() if one[0].lower() not in _OF_THE_ENCODING]
        return httpx.Response(
            of.status_code, headers=kept, content=bytes(self._content), request=of.request, extensions=of.extensions
        )


class EventLines:
    """The lines of an event stream, which end in LF or CRLF."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Raises Error for a line that is too long or not UTF-8."""
        for number, part in enumerate(chunk.split(b"\n")):
            if number:  # a line ended before this part
                yield self._ended()
            self._line += part
            if len(self._line) > MOST_EVENT_BYTES:
                raise Error(f"The stream has a line of more than {MOST_EVENT_BYTES:,} bytes; is it a CyberImage?")

    def _ended(self) -> str:
        line, self._line = self._line, bytearray()
        try:
            return line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise Error("The stream has a line that is not UTF-8; is it a CyberImage?") from None


class EventParser:
    """Server-sent events, line by line, as the HTML standard has them; comments, ids and pauses are skipped."""

    def __init__(self) -> None:
        self._lines, self._name, self._data = EventLines(), "message", ""

    def feed_bytes(self, chunk: bytes) -> Iterator[Event]:
        """As `feed`, with the next bytes of the stream."""
        for line in self._lines.feed(chunk):
            yield from self.feed(line)

    def feed(self, line: str) -> Iterator[Event]:
        """Raises Error for data that is too long or not a JSON object."""
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if self._data:
                yield Event(self._name, self._object())
            self._name, self._data = "message", ""
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data += value
            if len(self._data) > MOST_EVENT_BYTES:
                raise Error(f"The stream has an event of more than {MOST_EVENT_BYTES:,} bytes; is it a CyberImage?")

    def _object(self) -> dict[str, Any]:
        try:
            found = json.loads(self._data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Error("The stream has an event that is no JSON object; is it a CyberImage?")
        return found

"""What both clients have in common: bodies, paths, retries and the format of event streams. No I/O but input files."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from cyberimage.errors import Error, Refused
from cyberimage.models import Event, Image, Job

DEFAULT_URL = "http://127.0.0.1:5050"
STREAM_SILENCE_SECONDS = 60.0  # longer than the server's keepalive comments are apart
STREAM_PAUSE_SECONDS = 0.5  # before a stream is opened again that ended while its job goes on
MAX_PAUSE_SECONDS = 30.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

Picture = bytes | os.PathLike[str] | str  # bytes, a file, or a string for the server: a URL, a gallery id, base64
Job_ = Job | str
Image_ = Image | str


def job_id(job: Job_) -> str:
    return job.id if isinstance(job, Job) else job


def image_id(image: Image_) -> str:
    return image.id if isinstance(image, Image) else image


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
    """Raises Error for anything but http and https."""
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


def json_of(response: httpx.Response) -> dict[str, Any]:
    """Raises Error for an answer that is not JSON."""
    try:
        found: dict[str, Any] = response.json()
    except ValueError:
        raise Error(f"{response.url} answered no JSON; is it a CyberImage?") from None
    return found


def checked(response: httpx.Response) -> httpx.Response:
    """Raises Refused for an error status."""
    if response.is_error:
        raise Refused(response)
    return response


class EventParser:
    """Server-sent events, line by line, as the HTML standard has them; comments, ids and pauses are skipped."""

    def __init__(self) -> None:
        self._name, self._data = "message", ""

    def feed(self, line: str) -> Iterator[Event]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if self._data:
                yield Event(self._name, json.loads(self._data))
            self._name, self._data = "message", ""
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data += value

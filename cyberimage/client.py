"""`Client`: synchronous calls to one server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, Self

import httpx

from cyberimage import protocol
from cyberimage.errors import Error, Refused, Unreachable, WaitTimeout
from cyberimage.models import Event, Job
from cyberimage.protocol import Image_, Job_, Picture


class Client:
    """Calls the server at `url`, with an API key or hub token in `token`. `timeout` is in seconds, for one answer.

    A request is tried again up to `retries` times when no server answers, or when it says that it is busy (429, 502,
    503, 504); submissions carry an Idempotency-Key, so that they make one job. Raises Refused for other errors of the
    server, Unreachable when there is none. Thread-safe; a context manager.
    """

    def __init__(
        self,
        url: str = protocol.DEFAULT_URL,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = str(protocol.base_url(url))
        self._retries = retries
        self._http = httpx.Client(
            base_url=self.url, headers=protocol.headers(token), timeout=timeout, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def generate_image(
        self,
        prompt: str,
        model_id: str | None = None,
        *,
        image: Picture | None = None,
        mask: Picture | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Job:
        """Submit a job. `fields` are further members of POST /api/generate: negative_prompt, settings={"seed": 1, …},
        priority, webhook_url. `image` and `mask` are bytes, files, or strings: a URL or the id of an image there."""
        body = protocol.generate_body(prompt, model_id, image, mask, fields)
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Job.of(self.request("POST", "/api/generate", json=body, headers=key))

    def get_job_status(self, job: Job_) -> Job:
        return Job.of(self.request("GET", f"/api/status/{protocol.job_id(job)}"))

    def get_image(self, image: Image_) -> bytes:
        """The file: a PNG, or an MP4 of a video."""
        return self._send("GET", f"/api/image/{protocol.image_id(image)}", file=True).content

    def cancel(self, job: Job_) -> Job:
        """A running job ends at its next step. Raises Refused (409) when it has ended already."""
        return Job.of(self.request("POST", f"/api/jobs/{protocol.job_id(job)}/cancel"))

    def stream(self, job: Job_) -> Iterator[Event]:
        """Events until the job has ended; a stream that breaks is opened again, and begins with the present state."""
        attempt = 0
        while True:
            try:
                for event in self._events(protocol.job_id(job)):
                    attempt = 0
                    yield event
                if self.get_job_status(job).ended:
                    return
                time.sleep(protocol.STREAM_PAUSE_SECONDS)
            except (Unreachable, Refused) as error:
                self._pause(attempt, error)
                attempt += 1

    def wait(self, job: Job_, timeout: float | None = None) -> Job:
        """The job when it is COMPLETED. Raises JobFailed when it ended otherwise, WaitTimeout after `timeout` seconds;
        the job goes on then."""
        for pause in protocol.poll_pauses(timeout):
            state = self.get_job_status(job)
            if state.ended:
                return protocol.completed(state)
            if pause is None:
                raise WaitTimeout(state, timeout or 0)
            time.sleep(pause)
        raise AssertionError("the pauses do not end")

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Any other call: the JSON of its answer. `options` are those of httpx.Client.request."""
        return protocol.json_of(self._send(method, protocol.checked_path(path), **options))

    def _send(self, method: str, path: str, *, file: bool = False, **options: Any) -> httpx.Response:
        attempt = 0
        while True:
            try:
                with protocol.connection_errors(self.url), self._http.stream(method, path, **options) as response:
                    return protocol.checked(_whole(response, file=file))
            except (Unreachable, Refused) as error:
                self._pause(attempt, error)
                attempt += 1

    def _pause(self, attempt: int, error: Error) -> None:
        """Wait before the next attempt. Raises `error` when there is to be none."""
        if attempt >= self._retries:
            raise error
        time.sleep(protocol.pause_before_retry(attempt, error))

    def _events(self, job_id: str) -> Iterator[Event]:
        parser = protocol.EventParser()
        path, silence = f"/api/jobs/{job_id}/events", protocol.STREAM_SILENCE_SECONDS
        with protocol.connection_errors(self.url), self._http.stream("GET", path, timeout=silence) as response:
            if not response.is_success:
                protocol.checked(_whole(response))
            for chunk in response.iter_bytes():
                yield from parser.feed_bytes(chunk)


def _whole(response: httpx.Response, *, file: bool = False) -> httpx.Response:
    """`response` with its body, which is a `file` of any size or at most MOST_JSON_BYTES long. Raises Error."""
    body = protocol.Body(response, file=file)
    for chunk in response.iter_bytes():
        body.feed(chunk)
    return body.response()

"""`AsyncClient`: the calls of `Client`, as coroutines."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx

from cyberimage import protocol
from cyberimage.errors import Error, Refused, Unreachable, WaitTimeout
from cyberimage.models import Event, Job
from cyberimage.protocol import Image_, Job_, Picture


class AsyncClient:
    """As `Client`, for asyncio; see there. An asynchronous context manager."""

    def __init__(
        self,
        url: str = protocol.DEFAULT_URL,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = str(protocol.base_url(url))
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=protocol.headers(token), timeout=timeout, transport=transport, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def generate_image(
        self,
        prompt: str,
        model_id: str | None = None,
        *,
        image: Picture | None = None,
        mask: Picture | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Job:
        body = protocol.generate_body(prompt, model_id, image, mask, fields)
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Job.of(await self.request("POST", "/api/generate", json=body, headers=key))

    async def get_job_status(self, job: Job_) -> Job:
        return Job.of(await self.request("GET", f"/api/status/{protocol.job_id(job)}"))

    async def get_image(self, image: Image_) -> bytes:
        return (await self._send("GET", f"/api/image/{protocol.image_id(image)}", file=True)).content

    async def cancel(self, job: Job_) -> Job:
        return Job.of(await self.request("POST", f"/api/jobs/{protocol.job_id(job)}/cancel"))

    async def stream(self, job: Job_) -> AsyncIterator[Event]:
        attempt = 0
        while True:
            try:
                async for event in self._events(protocol.job_id(job)):
                    attempt = 0
                    yield event
                if (await self.get_job_status(job)).ended:
                    return
                await asyncio.sleep(protocol.STREAM_PAUSE_SECONDS)
            except (Unreachable, Refused) as error:
                await self._pause(attempt, error)
                attempt += 1

    async def wait(self, job: Job_, timeout: float | None = None) -> Job:
        for pause in protocol.poll_pauses(timeout):
            state = await self.get_job_status(job)
            if state.ended:
                return protocol.completed(state)
            if pause is None:
                raise WaitTimeout(state, timeout or 0)
            await asyncio.sleep(pause)
        raise AssertionError("the pauses do not end")

    async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return protocol.json_of(await self._send(method, protocol.checked_path(path), **options))

    async def _send(self, method: str, path: str, *, file: bool = False, **options: Any) -> httpx.Response:
        attempt = 0
        while True:
            try:
                with protocol.connection_errors(self.url):
                    async with self._http.stream(method, path, **options) as response:
                        return protocol.checked(await _whole(response, file=file))
            except (Unreachable, Refused) as error:
                await self._pause(attempt, error)
                attempt += 1

    async def _pause(self, attempt: int, error: Error) -> None:
        """Wait before the next attempt. Raises `error` when there is to be none."""
        if attempt >= self._retries:
            raise error
        await asyncio.sleep(protocol.pause_before_retry(attempt, error))

    async def _events(self, job_id: str) -> AsyncIterator[Event]:
        parser = protocol.EventParser()
        path, silence = f"/api/jobs/{job_id}/events", protocol.STREAM_SILENCE_SECONDS
        with protocol.connection_errors(self.url):
            async with self._http.stream("GET", path, timeout=silence) as response:
                if not response.is_success:
                    protocol.checked(await _whole(response))
                async for chunk in response.aiter_bytes():
                    for event in parser.feed_bytes(chunk):
                        yield event


async def _whole(response: httpx.Response, *, file: bool = False) -> httpx.Response:
    """`response` with its body, which is a `file` of any size or at most MOST_JSON_BYTES long. Raises Error."""
    body = protocol.Body(response, file=file)
    async for chunk in response.aiter_bytes():
        body.feed(chunk)
    return body.response()

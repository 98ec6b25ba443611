"""Calls to providers, with one exception type for each way to handle a failure."""

from __future__ import annotations

import logging
import math
from typing import Any

import httpx

from app.monitoring.tracing import headers

_TEXT_MAX_CHARS = 1000
LONGEST_PAUSE_SECONDS = 600.0  # whatever an answer asks for

log = logging.getLogger("cyberimage.remote")


class ProviderFault(Exception):
    """Base class. `text` is for people, and contains no secrets."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Refused(ProviderFault):
    """The provider refused with the HTTP `status`: repeating the request is useless."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Busy(ProviderFault):
    """Too many requests: nothing was done. Retry after `retry_after` seconds, if given."""

    def __init__(self, text: str, retry_after: float | None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Unreachable(ProviderFault):
    """No usable answer. `maybe_done` is false if the request cannot have arrived."""

    def __init__(self, text: str, *, maybe_done: bool) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done


def call(client: httpx.Client, method: str, path: str, *, provider: str, **request: Any) -> Any:
    """The JSON response to a request, which belongs to the trace that the thread works for. Raises Refused, Busy or
    Unreachable."""
    sent = {**request.pop("headers", {}), **headers()}
    try:
        response = client.request(method, path, headers=sent, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise Unreachable(f"{provider} cannot be reached ({type(error).__name__}).", maybe_done=False) from None
    except httpx.HTTPError as error:
        raise Unreachable(f"{provider} did not answer in time ({type(error).__name__}).", maybe_done=True) from None
    return _checked(response, provider)


def _checked(response: httpx.Response, provider: str) -> Any:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Busy(f"{provider} limits requests: {error_text(response)}", _retry_after(response))
    if status >= 500:
        raise Unreachable(f"{provider} answered {status}.", maybe_done=True)
    if status >= 300:
        raise Refused(status, f"{provider} answered {status}: {error_text(response)}")
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        raise Unreachable(f"{provider} answered {status} with invalid JSON.", maybe_done=True) from None


def error_text(response: httpx.Response) -> str:
    """The provider's error message, in any common format."""
    try:
        body = response.json()
    except ValueError:
        return response.text.strip()[:_TEXT_MAX_CHARS] or "no message"
    if isinstance(body, dict):
        error = body.get("error")
        inner = error if isinstance(error, dict) else body
        for name in ("detail", "message", "error", "title"):
            if isinstance(inner.get(name), str) and inner[name].strip():
                return str(inner[name]).strip()[:_TEXT_MAX_CHARS]
    return str(body)[:_TEXT_MAX_CHARS]


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, at most LONGEST_PAUSE_SECONDS; dates are ignored."""
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(max(0.0, seconds), LONGEST_PAUSE_SECONDS) if math.isfinite(seconds) else None

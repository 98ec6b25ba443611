"""Errors of the client. All derive from `Error`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from cyberimage.models import Job


class Error(Exception):
    """Base class of the client's errors."""


class Unreachable(Error):
    """No server answered, or the connection broke, also when tried again."""


class Refused(Error):
    """The server answered with an error, or a redirect: `status` is the HTTP status, `code` the stable code
    (docs/API_REFERENCE.md), `errors` the fields at fault, `retry_after` the seconds after which the same request may
    succeed."""

    def __init__(self, response: httpx.Response) -> None:
        problem = _problem_of(response)
        self.status = response.status_code
        self.code = _text(problem, "code") or "unknown"
        self.detail = _text(problem, "detail") or f"The server answered {self.status} {response.reason_phrase}."
        self.errors = _field_errors(problem)
        self.request_id: str | None = _text(problem, "request_id") or response.headers.get("X-Request-Id")
        self.retry_after = _retry_after_of(response)
        super().__init__(f"{self.detail} ({self.code})")


class JobFailed(Error):
    """The job ended without images: FAILED or CANCELLED. `job` is its last state, `code` its error's code."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.code = job.error_code or job.status.lower()
        message = job.error_message or f"The job was {job.status.lower()}."
        super().__init__(f"{message} ({self.code}; job {job.id})")


class WaitTimeout(Error, TimeoutError):
    """The job did not end in time. It goes on: wait for it again, or cancel it."""

    def __init__(self, job: Job, seconds: float) -> None:
        self.job = job
        super().__init__(f"Job {job.id} is {job.status} after {seconds:g} seconds. It goes on.")


def _retry_after_of(response: httpx.Response) -> float | None:
    """The seconds of Retry-After; None without one, and for a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457) of an error response; empty when it has none."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(problem: dict[str, Any], name: str) -> str:
    found = problem.get(name)
    return found if isinstance(found, str) else ""


def _field_errors(problem: dict[str, Any]) -> list[dict[str, str]]:
    """Those that have a field and a message."""
    found = problem.get("errors")
    errors = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one for one in errors if _text(one, "field") and _text(one, "message")]

"""Rules of webhook delivery: messages, retry delays and pauses. No network or SQL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from app.core.backoff import Backoff, jittered
from app.core.job import Job

URL_MAX_CHARS = 2048

# Seconds between attempts: short at first, in case the receiver restarts, then over a whole day.
RETRY_DELAYS = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
TRIES = len(RETRY_DELAYS) + 1
EVENTS = ("job.completed", "job.failed", "job.cancelled")
JITTER = 0.2  # so that simultaneous failures are not retried simultaneously

PAUSE = Backoff(first=10.0, longest=3600.0, jitter=0.1)  # of an endpoint, after consecutive timeouts


class DeliveryState(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


@dataclass(frozen=True)
class Delivery:
    """One message to one receiver. Times are seconds since the epoch, UTC.

    `id` is the same for all attempts, so that receivers detect repeats. `receiver` is scheme, host and port of the
    `url`, `endpoint` a digest of these and the path. `due_at` is the earliest time of the next attempt.
    `response_status` and `error` are of the last attempt. `owner` is the `client_id` of the job.
    """

    seq: int
    id: str
    job_id: str
    event: str
    url: str
    receiver: str
    payload: str
    state: DeliveryState
    attempt: int
    tries_left: int
    due_at: float
    created_at: float
    attempted_at: float | None = None
    delivered_at: float | None = None
    response_status: int | None = None
    error: str | None = None
    owner: str = ""
    endpoint: str = ""
    traceparent: str | None = None

    @property
    def is_retry(self) -> bool:
        """Whether there was an attempt before the current one. A replayed message starts again."""
        return self.tries_left < TRIES - 1


def event_of(job: Job) -> str:
    """One of EVENTS."""
    return f"job.{job.status.lower()}"


def receiver_of(url: str) -> str:
    """Scheme, host and port of a `webhook_url`: the part that may be shown, as the rest may contain a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def endpoint_of(url: str) -> str:
    """A digest of the URL's scheme, host, port and path. Deliveries to different endpoints are independent."""
    return hashlib.sha256(f"{receiver_of(url)}{urlsplit(url).path or '/'}".encode()).hexdigest()[:32]


def retry_delay(tries_left: int, draw: float) -> float | None:
    """Seconds until the next attempt of a delivery that has just failed; None after the last attempt. `draw` is a
    random number from 0 to 1."""
    if tries_left <= 0:
        return None
    delay = RETRY_DELAYS[max(0, len(RETRY_DELAYS) - tries_left)]
    return jittered(delay, JITTER, draw)

"""Request metrics of this API process: totals for Prometheus, and figures of the last thousand requests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

LAST_REQUESTS = 1000
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Labels must not grow with values that clients invent.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


@dataclass(frozen=True)
class Recent:
    """Figures of the last `count` requests: the share with status 5xx, and seconds by percentile."""

    count: int
    error_rate: float
    p50: float
    p95: float
    p99: float


class RequestMetrics:
    """Thread-safe. Its metrics are in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # creation times of counters would double the response
        self._requests = Counter(
            "cyberimage_http_requests",
            "Requests answered by this API process.",
            ["method", "route", "status", "facade"],
            registry=registry,
        )
        self._seconds = Histogram(
            "cyberimage_http_request_duration_seconds",
            "Time until the response starts; event streams continue after that.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=registry,
        )
        # An observation takes a microsecond if the labels are not looked up each time.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._lock = threading.Lock()
        self._last: deque[tuple[float, bool]] = deque(maxlen=LAST_REQUESTS)

    def expect(self, method: str, route: str, facade: str = "native") -> None:
        """Begin the count of server errors of a route at zero, so that the first one is an increase."""
        self._requests.labels(method, route, "500", facade)

    def observe(self, method: str, route: str | None, status: int, seconds: float, facade: str = "native") -> None:
        """`route` is the rule that matched, None if none did; `facade` the interface that it belongs to."""
        key = (method if method in METHODS else OTHER, route or OTHER, status)
        meters = self._known.get(key)
        if meters is None:
            meters = self._requests.labels(key[0], key[1], str(status), facade), self._seconds.labels(key[0], key[1])
            self._known[key] = meters
        meters[0].inc()
        meters[1].observe(seconds)
        with self._lock:
            self._last.append((seconds, status >= 500))

    def recent(self) -> Recent:
        with self._lock:
            last = list(self._last)
        seconds = sorted(each for each, _ in last)
        errors = sum(failed for _, failed in last)
        return Recent(len(last), errors / max(1, len(last)), *(_percentile(seconds, p) for p in (0.5, 0.95, 0.99)))


def _percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Refusal(StrEnum):
    """Reason for a refusal. `anonymous` is no attack: pages send requests before the user has signed in."""

    ANONYMOUS = "anonymous"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"
    HOST = "host"
    ORIGIN = "origin"


class RefusalMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "cyberimage_auth_failures",
            "Requests refused because of their token, host or origin, by this API process.",
            ["reason"],
            registry=registry,
        )
        for reason in Refusal:  # so that rates start at 0
            self._refused.labels(reason.value)

    def refused(self, reason: Refusal) -> None:
        self._refused.labels(reason.value).inc()

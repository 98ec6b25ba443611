"""Prometheus counter of requests refused by authentication and origin checks."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter


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

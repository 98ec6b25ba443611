"""How often somebody was refused at the door, for Prometheus."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter


class Refusal(StrEnum):
    """Why. `anonymous` is no attempt at anything: pages ask before anybody has signed in."""

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
            "Requests refused for who sent them or from where, by this API process.",
            ["reason"],
            registry=registry,
        )
        for reason in Refusal:  # so that a rate has something to start from
            self._refused.labels(reason.value)

    def refused(self, reason: Refusal) -> None:
        self._refused.labels(reason.value).inc()

"""Times in JSON: seconds since the epoch as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """`2026-11-20T17:59:00.123Z`, rounded down to the millisecond, so that a listing `since` this time includes it."""
    milliseconds = int(seconds * 1000)
    if milliseconds / 1000 > seconds:  # the product was rounded up
        milliseconds -= 1
    whole, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)

"""Ids of worker processes: chosen in part by the supervisor, so that it can name a worker that has died."""

from __future__ import annotations

import secrets

MOST_CHARACTERS = 64


def new_suffix() -> str:
    """The random part of a worker's id: process ids are used again, and hosts may have equal names."""
    return secrets.token_hex(4)


def worker_id(host: str, pid: int, suffix: str) -> str:
    """At most MOST_CHARACTERS; a long host name is cut, never the suffix."""
    rest = f"-{pid}-{suffix}"
    return host[: MOST_CHARACTERS - len(rest)] + rest

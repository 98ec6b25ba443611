"""Ids of jobs and pictures: 32 hexadecimal digits, unguessable and sorted by creation time.

Sorted by time, as in UUID version 7, so that a large index grows at its end: random ids would read and write a
different index page for every job.
"""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """48 bits of milliseconds, 80 random bits."""
    return f"{time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(10)}"

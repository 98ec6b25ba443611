"""Names for jobs and pictures: 32 hexadecimal digits that nobody can guess and that sort by age.

By age, as in UUID version 7, so that an index over a million of them grows at its end: random ones would touch a page
of their own with every job, and each of those has to be read and written back.
"""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """48 bits of milliseconds, 80 of chance."""
    return f"{time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(10)}"

"""Memory in use by a process, in the unit of logs and responses."""

from __future__ import annotations


def megabytes(size: int | None) -> int | None:
    """`size` bytes in megabytes (1e6 bytes), rounded; None stays None: not measured."""
    return None if size is None else round(size / 1e6)

"""Polls for a condition with a generous timeout."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return when `condition` holds; fail with `what` after `patience` seconds."""
    give_up_at = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.01)

"""Polls for a condition with a generous timeout, less and less often: most conditions ask a server."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.05  # seconds


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return when `condition` holds; fail with `what` after `patience` seconds."""
    give_up_at, pause = time.monotonic() + patience, FIRST_PAUSE
    while not condition():
        assert time.monotonic() < give_up_at, what
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE)

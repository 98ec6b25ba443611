"""Tracks when each model was last used, to unload idle ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class IdleModels:
    """`limit` returns the current MODEL_IDLE_SECONDS; 0 disables unloading."""

    def __init__(self, limit: Callable[[], float]) -> None:
        self._limit = limit
        self._used_at: dict[str, float] = {}

    def used(self, model_id: str) -> None:
        self._used_at[model_id] = time.monotonic()

    def overdue(self, resident: Sequence[str]) -> list[str]:
        """The `resident` models whose last use is at least the limit ago."""
        limit = self._limit()
        if not limit:
            return []
        now = time.monotonic()
        return [model for model in resident if now - self._used_at.setdefault(model, now) >= limit]

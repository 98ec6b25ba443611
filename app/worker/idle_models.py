"""Which models have had nothing to do for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class IdleModels:
    """`limit` gives MODEL_IDLE_SECONDS as it is now; 0 = no model is ever idle for too long."""

    def __init__(self, limit: Callable[[], float]) -> None:
        self._limit = limit
        self._used_at: dict[str, float] = {}

    def used(self, model_id: str) -> None:
        self._used_at[model_id] = time.monotonic()

    def overdue(self, resident: Sequence[str]) -> list[str]:
        """Those of the `resident` models that were last used more than the limit ago."""
        limit = self._limit()
        if not limit:
            return []
        now = time.monotonic()
        return [model for model in resident if now - self._used_at.setdefault(model, now) >= limit]

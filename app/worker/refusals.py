"""Models that this worker's device refused: their jobs are left to other workers, as long as one may run them."""

from __future__ import annotations

import platform
import time
from collections.abc import Collection

from app.services.context import AppContext
from app.store.queue.device_refusals import REFUSED_SECONDS

RETURN_SECONDS = 60.0  # a worker that was seen may be gone that long: its process is being replaced


class Refusals:
    """The refusals of the device `device_id` of this host; reads no table while there are none."""

    def __init__(self, context: AppContext, device_id: str) -> None:
        self._context = context
        self._place = (platform.node(), device_id)
        self._hold_until: float | None = None  # None: not read since the start of this process
        self._seen: dict[str, float] = {}  # when a worker that may run the model was seen last

    def add(self, model_id: str) -> bool:
        """Record a refusal. True if another worker may run the model. Raises DatabaseUnavailable."""
        self._context.device_refusals.record(*self._place, model_id)
        self._hold_until = time.monotonic() + REFUSED_SECONDS
        return model_id in self._left_to_others()

    def left(self) -> Collection[str]:
        """The models whose jobs this worker leaves to others. Raises DatabaseUnavailable."""
        if self._hold_until is None:
            refused = self._context.device_refusals.refused(*self._place)
            self._hold_until = time.monotonic() + REFUSED_SECONDS if refused else 0.0
        return self._left_to_others() if time.monotonic() < self._hold_until else ()

    def _left_to_others(self) -> Collection[str]:
        now = time.monotonic()
        self._seen |= dict.fromkeys(self._context.device_refusals.left_to_others(*self._place), now)
        return {model_id for model_id, seen in self._seen.items() if now - seen < RETURN_SECONDS}

"""Models that this worker's device refused: their jobs are left to other workers, as long as one may run them."""

from __future__ import annotations

import platform
import time
from collections import defaultdict

from app.core.assignment import Left, is_left
from app.core.needs import Needs
from app.core.worker_capabilities import Capabilities
from app.services.context import AppContext
from app.store.queue.device_refusals import REFUSED_SECONDS

RETURN_SECONDS = 60.0  # a worker that was seen may be gone that long: its process is being replaced


class Refusals:
    """The refusals of the device `device_id` of this host; reads no table while there are none."""

    def __init__(self, context: AppContext, device_id: str) -> None:
        self._context = context
        self._place = (platform.node(), device_id)
        self._hold_until: float | None = None  # None: not read since the start of this process
        self._seen: dict[tuple[str, str | None], float] = {}  # when such a worker, by model and report, was seen last

    def add(self, needs: Needs) -> bool:
        """Record a refusal of the model. True if another worker may run the job. Raises DatabaseUnavailable."""
        self._context.device_refusals.record(*self._place, needs.model)
        self._hold_until = time.monotonic() + REFUSED_SECONDS
        return is_left(needs, self._others())

    def left(self) -> Left:
        """The models whose jobs this worker leaves to others, as far as those can run them. Raises
        DatabaseUnavailable."""
        if self._hold_until is None:
            refused = self._context.device_refusals.refused(*self._place)
            self._hold_until = time.monotonic() + REFUSED_SECONDS if refused else 0.0
        return self._others() if time.monotonic() < self._hold_until else {}

    def _others(self) -> Left:
        now = time.monotonic()
        for model_id, digests in self._context.device_refusals.others(*self._place).items():
            self._seen |= dict.fromkeys(((model_id, digest) for digest in digests), now)
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen < RETURN_SECONDS}
        reports = self._context.capabilities.reports({digest for _, digest in self._seen if digest is not None})
        left: dict[str, list[Capabilities | None]] = defaultdict(list)
        for model_id, digest in self._seen:
            left[model_id].append(reports.get(digest or ""))
        return left

"""The engine's `PlanHistory`, in the database: it outlives the worker processes that the kernel kills."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection

from app.errors import DatabaseUnavailable
from app.services.context import AppContext

log = logging.getLogger("cyberimage.worker")


class StoredPlanHistory:
    """Plans of the worker process `worker_id` and of the earlier ones on its device."""

    def __init__(self, context: AppContext, worker_id: str, device_id: str) -> None:
        self._context = context
        self._worker_id = worker_id
        self._place = (platform.node(), device_id)

    def killed(self, model_id: str) -> Collection[str]:
        try:
            return self._context.memory_plans.killed(*self._place, model_id)
        except DatabaseUnavailable as error:  # the plans are tried again, which is bounded by the job's attempts
            log.warning("Cannot read which memory plans of %s were killed: %s", model_id, error.detail)
            return ()

    def begin(self, model_id: str, plan: str) -> None:
        host, device_id = self._place
        try:
            self._context.memory_plans.begin(self._worker_id, model_id, plan, host=host, device_id=device_id)
        except DatabaseUnavailable as error:  # a death under this plan will not be attributed to it
            log.warning("Cannot record the memory plan of %s: %s", model_id, error.detail)

"""Have a model loaded or unloaded by the workers, and wait for what comes of it.

The order is in the database: a worker takes it between two jobs, so no running job is touched and nothing restarts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import LoadCalledOff, NoWorker, WorkerDied, error_of
from app.services.context import AppContext
from app.services.jobs.notifications import JobNotifier
from app.store.queue.workers import ready_models

LIFETIME_SECONDS = 600.0  # an order that nobody had time for is forgotten: a model swapped an hour later surprises


@dataclass(frozen=True)
class Loaded:
    """`seconds` is what loading took, None unless it was loaded just now. `worker_id` None: nobody has taken it yet.
    The last three are of a download that goes on."""

    status: Literal["loaded", "already_loaded", "loading"]
    model_id: str
    seconds: float | None = None
    worker_id: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Unloaded:
    """`models` are those that were in memory or on their way there, `workers` how many held one of them."""

    status: Literal["unloaded", "not_loaded", "unloading"]
    models: Sequence[str]
    workers: int


class ModelLoading:
    """`give_up` turns true when nobody should wait any longer, because the server stops."""

    def __init__(self, context: AppContext, notifier: JobNotifier, give_up: Callable[[], bool]) -> None:
        self._context = context
        self._notifier = notifier
        self._give_up = give_up

    def load(self, model_id: str, timeout: float) -> Loaded:
        """Have one worker hold the model. Past `timeout` seconds the order goes on and the status is `loading`.

        Raises UnknownModel, NoWorker, WorkerDied, or what kept the model from being loaded, with the engine's code.
        """
        spec = self._context.catalog.get(model_id)
        if spec.lane != "local":  # a provider holds it, whatever that means there
            return Loaded("already_loaded", spec.id)
        for worker in self._workers():
            if spec.id in ready_models(worker):
                return Loaded("already_loaded", spec.id, worker_id=worker["id"])
        order = self._context.load_requests.under_way(LoadAction.LOAD, spec.id)
        if order is None or self._is_orphaned(order):
            order = self._place(LoadAction.LOAD, spec.id)
        order = self._wait(order, timeout)
        if order.state is not LoadState.DONE:
            here, total, eta = order.downloaded_bytes, order.total_bytes, order.eta_seconds
            return Loaded("loading", spec.id, None, order.worker_id, here, total, eta)
        if order.was_resident:
            return Loaded("already_loaded", spec.id, worker_id=order.worker_id)
        return Loaded("loaded", spec.id, order.seconds, order.worker_id)

    def unload(self, model_id: str | None, timeout: float) -> Unloaded:
        """Have every worker that holds the model (None: any model) free its memory, once its running job has ended. Who
        loads it just now stops; what was downloaded stays.

        Raises UnknownModel, or NoWorker.
        """
        known = None if model_id is None else self._context.catalog.get(model_id).id
        holders = [worker for worker in self._workers() if _wanted(worker, known)]
        called_off = self._call_off(known)
        models = sorted({model for worker in holders for model in _wanted(worker, known)} | called_off)
        if not holders:
            return Unloaded("unloading" if called_off else "not_loaded", models, 0)
        orders = [self._place(LoadAction.UNLOAD, known, addressee=worker["id"]) for worker in holders]
        give_up_at = time.monotonic() + timeout
        settled = [self._wait(order, max(0.0, give_up_at - time.monotonic())) for order in orders]
        whole = all(order.state is LoadState.DONE or self._is_orphaned(order) for order in settled)
        return Unloaded("unloaded" if whole else "unloading", models, len(holders))

    def _call_off(self, model_id: str | None) -> set[str]:
        """End the loads that nobody wants any more; gives their models."""
        reason = LoadCalledOff("The model was unloaded before it was loaded. Load it again when it is wanted.")
        ended = self._context.load_requests.call_off(model_id, reason)
        for order in ended:
            self._context.notifications.ring("news", order.id)
        return {order.model_id for order in ended if order.model_id is not None}

    def _workers(self) -> Sequence[dict[str, Any]]:
        live = [worker for worker in self._context.workers.live() if worker["lane"] == "local"]
        if not live:
            raise NoWorker("No worker is running. Start one with: python worker.py")
        return live

    def _place(self, action: LoadAction, model_id: str | None, addressee: str | None = None) -> LoadRequest:
        order = self._context.load_requests.place(action, model_id, lifetime=LIFETIME_SECONDS, addressee=addressee)
        self._context.notifications.ring("work")
        return order

    def _wait(self, order: LoadRequest, timeout: float) -> LoadRequest:
        """The order when it was carried out, or as it stands after `timeout` seconds. Raises WorkerDied, or why it
        could not be carried out."""

        def look() -> LoadRequest:
            return self._context.load_requests.get(order.id) or order

        def is_over() -> bool:
            seen = look()
            return seen.state.terminal or self._is_orphaned(seen)

        self._notifier.wait_until(order.id, is_over, timeout, self._give_up)
        seen = look()
        if seen.action is LoadAction.LOAD and self._is_orphaned(seen):
            raise WorkerDied(f"The worker died while it loaded {seen.model_id}. Look into its log.")
        if seen.state is LoadState.FAILED:
            raise error_of(seen.error_code or "internal", seen.error_message or "")
        return seen

    def _is_orphaned(self, order: LoadRequest) -> bool:
        """Its worker is gone: nobody will carry it out."""
        who = order.worker_id or order.addressee
        if who is None or order.state.terminal:
            return False
        return all(worker["id"] != who for worker in self._context.workers.live())


def _held(worker: dict[str, Any]) -> set[str]:
    """Also those that only wait in main memory."""
    return {model["model_id"] for model in worker["models"]}


def _wanted(worker: dict[str, Any], model_id: str | None) -> set[str]:
    """What of the worker's models an order to unload `model_id` means."""
    return _held(worker) if model_id is None else _held(worker) & {model_id}

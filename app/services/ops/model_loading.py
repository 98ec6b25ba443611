"""Load and unload models in the workers on request, and wait for the result.

Load requests are stored in the database: a worker takes one between two jobs, so no running job is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import LoadCancelled, NoWorker, WorkerDied, error_of
from app.services.context import AppContext
from app.services.jobs.notifications import JobNotifier
from app.store.queue.workers import ready_models

LIFETIME_SECONDS = 600.0  # requests not taken by then expire: a model swap an hour later would be unexpected


@dataclass(frozen=True)
class Loaded:
    """`seconds` is the load time, None unless loaded just now. `worker_id` is None until a worker takes the request.
    The last three are of a running download."""

    status: Literal["loaded", "already_loaded", "loading"]
    model_id: str
    seconds: float | None = None
    worker_id: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Unloaded:
    """`models` were in memory or being loaded; `workers` is how many had one of them."""

    status: Literal["unloaded", "not_loaded", "unloading"]
    models: Sequence[str]
    workers: int


class ModelLoading:
    """Sends load requests. `give_up` turns true when waits must end because the server stops."""

    def __init__(self, context: AppContext, notifier: JobNotifier, give_up: Callable[[], bool]) -> None:
        self._context = context
        self._notifier = notifier
        self._give_up = give_up

    def load(self, model_id: str, timeout: float) -> Loaded:
        """Have one worker load the model. After `timeout` seconds the request stays and the status is `loading`.

        Raises UnknownModel, NoWorker, WorkerDied, or the error that prevented loading, with the engine's code.
        """
        spec = self._context.catalog.get(model_id)
        if spec.lane != "local":  # nothing to load for a provider's model
            return Loaded("already_loaded", spec.id)
        for worker in self._workers():
            if spec.id in ready_models(worker):
                return Loaded("already_loaded", spec.id, worker_id=worker["id"])
        request = self._context.load_requests.under_way(LoadAction.LOAD, spec.id)
        if request is None or self._is_orphaned(request):
            request = self._create(LoadAction.LOAD, spec.id)
        request = self._wait(request, timeout)
        if request.state is not LoadState.DONE:
            here, total, eta = request.downloaded_bytes, request.total_bytes, request.eta_seconds
            return Loaded("loading", spec.id, None, request.worker_id, here, total, eta)
        if request.was_resident:
            return Loaded("already_loaded", spec.id, worker_id=request.worker_id)
        return Loaded("loaded", spec.id, request.seconds, request.worker_id)

    def unload(self, model_id: str | None, timeout: float) -> Unloaded:
        """Have all workers with the model (None: any model) free its memory, after their running job. Loads in progress
        are cancelled; downloaded files stay.

        Raises UnknownModel, or NoWorker.
        """
        known = None if model_id is None else self._context.catalog.get(model_id).id
        holders = [worker for worker in self._workers() if _matching(worker, known)]
        cancelled = self._cancel_loads(known)
        models = sorted({model for worker in holders for model in _matching(worker, known)} | cancelled)
        if not holders:
            return Unloaded("unloading" if cancelled else "not_loaded", models, 0)
        requests = [self._create(LoadAction.UNLOAD, known, addressee=worker["id"]) for worker in holders]
        give_up_at = time.monotonic() + timeout
        settled = [self._wait(request, max(0.0, give_up_at - time.monotonic())) for request in requests]
        whole = all(request.state is LoadState.DONE or self._is_orphaned(request) for request in settled)
        return Unloaded("unloaded" if whole else "unloading", models, len(holders))

    def _cancel_loads(self, model_id: str | None) -> set[str]:
        """Cancel the requests to load `model_id` (None: any model). Returns their models."""
        reason = LoadCancelled("The model was unloaded before it was loaded. Load it again if needed.")
        ended = self._context.load_requests.cancel(model_id, reason)
        for request in ended:
            self._context.notifications.publish("news", request.id)
        return {request.model_id for request in ended if request.model_id is not None}

    def _workers(self) -> Sequence[dict[str, Any]]:
        live = [worker for worker in self._context.workers.live() if worker["lane"] == "local"]
        if live and all(worker["state"] == "unhealthy" for worker in live):
            raise NoWorker("No device works; device_error of the workers in /status says why.")
        if not live:
            raise NoWorker("No worker is running. Start one with: python worker.py")
        return live

    def _create(self, action: LoadAction, model_id: str | None, addressee: str | None = None) -> LoadRequest:
        request = self._context.load_requests.create(action, model_id, lifetime=LIFETIME_SECONDS, addressee=addressee)
        self._context.notifications.publish("work")
        return request

    def _wait(self, request: LoadRequest, timeout: float) -> LoadRequest:
        """As `_settled`. Raises WorkerDied, or the error that it ended with."""
        seen = self._settled(request, timeout)
        if seen.action is LoadAction.LOAD and self._is_orphaned(seen):
            raise WorkerDied(f"The worker died while it loaded {seen.model_id}. See its log.")
        if seen.state is LoadState.FAILED:
            raise error_of(seen.error_code or "internal", seen.error_message or "")
        return seen

    def _settled(self, request: LoadRequest, timeout: float) -> LoadRequest:
        """The request when it has ended, or as it is after `timeout` seconds."""

        def read() -> LoadRequest:
            return self._context.load_requests.get(request.id) or request

        def is_over() -> bool:
            seen = read()
            return seen.state.terminal or self._is_orphaned(seen)

        self._notifier.wait_until(request.id, is_over, timeout, self._give_up)
        return read()

    def _is_orphaned(self, request: LoadRequest) -> bool:
        """True if its worker is dead, so that it will never be carried out."""
        worker_id = request.worker_id or request.addressee
        if worker_id is None or request.state.terminal:
            return False
        return all(worker["id"] != worker_id for worker in self._context.workers.live())


def _model_ids(worker: dict[str, Any]) -> set[str]:
    """Ids of the worker's models, including parked ones."""
    return {model["model_id"] for model in worker["models"]}


def _matching(worker: dict[str, Any], model_id: str | None) -> set[str]:
    """The worker's models that a request to unload `model_id` concerns."""
    return _model_ids(worker) if model_id is None else _model_ids(worker) & {model_id}

"""Load LoRAs into the models that workers hold, and unload them, by load requests (see `model_loading`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from app.core.load_requests import LoadAction, LoadRequest, LoadState
from app.errors import CyberImageError, LoraIncompatible, error_of
from app.services.models import loras
from app.services.models.loras import KnownLora
from app.services.ops.model_loading import LIFETIME_SECONDS, ModelLoading
from app.store.queue.workers import ready_models

Place = tuple[str, str]  # a worker's id and the id of a model that it holds


@dataclass(frozen=True)
class LoadedLora:
    """`models` hold it now. `loading`: a worker has not got to it yet; the other two: no worker holds a model that it
    fits, so the first job that asks for it loads it, or fetches it from the hub too."""

    status: Literal["loaded", "loading", "will_be_loaded", "will_be_fetched"]
    lora: KnownLora
    models: Sequence[str]


@dataclass(frozen=True)
class UnloadedLora:
    """`models` held it. `unloading`: a worker that holds it is busy, and frees it after its job."""

    status: Literal["unloaded", "unloading", "not_loaded"]
    models: Sequence[str]


class LoraLoading(ModelLoading):
    def load_lora(self, lora_path: str, name: str | None, timeout: float) -> LoadedLora:
        """Register the LoRA, and load it into the models of live workers that it fits.

        Raises LoraUnavailable, InvalidRequest for an invalid name, and what prevented loading if it was loaded nowhere.
        """
        known = loras.load(self._context, lora_path, name)
        ended = self._ask(LoadAction.LOAD, list(self._fitting(known)), known.stands_for or known.id, timeout)
        done = [request for request in ended if request.state is LoadState.DONE]
        models = sorted({request.model_id for request in done if request.model_id is not None})
        if models:
            return LoadedLora("loaded", known, models)
        errors = [error_of(request.error_code, request.error_message or "") for request in ended if request.error_code]
        if errors and len(errors) == len(ended):
            _raise_unless_misfits(errors)
        if self._is_pending(ended):
            return LoadedLora("loading", known, ())
        return LoadedLora("will_be_loaded" if known.available else "will_be_fetched", known, ())

    def unload_lora(self, name: str, timeout: float) -> UnloadedLora:
        """Delete the registered `name`, if it is one, and free the LoRA in all live workers."""
        known = loras.resolved(self._context, name)
        places = list(self._holders(known))
        ended = self._ask(LoadAction.UNLOAD, places, known, timeout)
        registered = loras.unload(self._context, name)
        models = sorted({model_id for _, model_id in places})
        if self._is_pending(ended):
            return UnloadedLora("unloading", models)
        return UnloadedLora("unloaded" if registered or places else "not_loaded", models)

    def _fitting(self, known: KnownLora) -> Iterator[Place]:
        """Where `known` may be loaded; of an unknown family, every model here: the engine compares the tensors."""
        any_model = known.card is None or known.card.family is None
        for worker in self._context.workers.live():
            if worker["lane"] == "local":
                yield from ((worker["id"], id) for id in ready_models(worker) if any_model or id in known.models)

    def _holders(self, lora_id: str) -> Iterator[Place]:
        for worker in self._context.workers.live():
            for model in worker["models"]:
                if lora_id.casefold() in [held.casefold() for held in model.get("loras", ())]:
                    yield worker["id"], model["model_id"]

    def _is_pending(self, requests: Sequence[LoadRequest]) -> bool:
        """Whether a live worker still has to carry out one of them; a dead one holds nothing."""
        return any(not request.state.terminal and not self._is_orphaned(request) for request in requests)

    def _ask(self, action: LoadAction, places: Sequence[Place], lora: str, timeout: float) -> list[LoadRequest]:
        """One request for each place, as they are when all have ended or after `timeout` seconds."""
        create = self._context.load_requests.create
        requests = [
            create(action, model_id, lifetime=LIFETIME_SECONDS, addressee=worker_id, lora=lora)
            for worker_id, model_id in places
        ]
        if requests:
            self._context.notifications.publish("work")
        give_up_at = time.monotonic() + timeout
        return [self._settled(request, max(0.0, give_up_at - time.monotonic())) for request in requests]


def _raise_unless_misfits(errors: Sequence[CyberImageError]) -> None:
    """Raise the first that is no misfit: a LoRA of unknown family was only tried."""
    for error in errors:
        if not isinstance(error, LoraIncompatible):
            raise error

"""Whether some worker can run a request, and what one that waits is waiting for."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.assignment import LiveWorker, Shortfall, named, shortfall
from app.core.needs import Needs, needs_of
from app.core.request import GenerationRequest
from app.errors import FieldError, NoCapableWorker
from app.services.context import AppContext
from app.services.models.fleet import Fleet
from app.services.models.own_capabilities import own_capabilities


def check_runnable(context: AppContext, fleet: Fleet, request: GenerationRequest) -> None:
    """Raises NoCapableWorker if no worker can run it. While none lives, jobs wait for those to come."""
    if not fleet.workers:
        return
    needs = needs_of(request)
    found = fleet.shortfall(needs)
    if found is None or not found.lacks:
        return
    if fleet.own_disk and own_capabilities(context, fleet.lane).can_run(needs):  # a file that is new: not reported yet
        return
    message = sentence(found)
    fields = dict.fromkeys(_FIELDS[lack.kind] for lack in found.lacks)
    raise NoCapableWorker(
        f"{message[0].upper()}{message[1:]}.", errors=[FieldError(field, message) for field in fields]
    )


def waits_for(workers: Sequence[LiveWorker], request: GenerationRequest) -> str | None:
    """What a job waits for that none of the live `workers` of its lane can run; None if one can, or if none lives."""
    return waits_for_needs(workers, needs_of(request))


def waits_for_needs(workers: Sequence[LiveWorker], needs: Needs) -> str | None:
    """`waits_for` by needs."""
    found = shortfall(needs, workers)
    return None if found is None or not found.lacks else f"a worker that has {named(found.lacks)}"


def sentence(found: Shortfall) -> str:
    """What to do, as a clause: which worker would have to have what."""
    lacking, worker = named(found.lacks), found.worker
    nearest = "the worker that was here last" if worker is None else f"{worker.id} on {worker.host}"
    return (
        f"no worker can run this: {nearest} comes nearest, and would have to have {lacking}. Put the files there, or"
        " start a worker on a machine that has them"
    )


_FIELDS = {
    "model": "model_id",
    "provider": "model_id",
    "lora": "settings.loras",
    "embedding": "prompt",
    "input model": "inputs",
    "detector": "inputs",
}

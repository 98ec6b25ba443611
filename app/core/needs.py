"""What a job needs of the worker that runs it, beyond a free slot: its model and the files beside it.

Jobs with equal needs are of one *class*: a worker that can run one of them can run all, so a claim decides once for
each class that waits, however many jobs it has. The class of a job that needs nothing but a local model is that model's
id; any other has a key that is made of its needs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from app.core.control_inputs import detectors_of
from app.core.latent_modes import latent_mode
from app.core.request import GenerationRequest
from app.core.tasks import UPSCALE

_MARK = "+"  # no id of a model begins with it


@dataclass(frozen=True)
class Needs:
    """`model` is the id of the model that draws, or of the upscaler of a job that only enlarges; empty for a provider's
    model, whose provider is `source`. `beside`: auxiliary models and the upscaler of a second pass, by id; `detectors`:
    the processors of control pictures that need a model."""

    model: str
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    source: str = ""

    @property
    def key(self) -> str | None:
        """The class of the job, as its row stores it; None if it needs nothing but a local model."""
        if self == Needs(self.model):
            return None
        own = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return _MARK + hashlib.sha256(own.encode()).hexdigest()[:40]


def needs_of(request: GenerationRequest) -> Needs:
    """What `request` needs. An engine server is one of its model's line, so that the model is named too."""
    call = request.remote
    if call is not None:
        return Needs(request.model_id if call.source == "engine" else "", source=call.source)
    return Needs(
        model=request.model_id,
        loras=tuple(sorted({lora.id for lora in request.loras})),
        embeddings=tuple(sorted(set(request.embeddings))),
        beside=tuple(sorted(_beside(request))),
        detectors=tuple(sorted(detectors_of(request.pictures))),
    )


def class_of(request: GenerationRequest) -> str:
    """The class of a job with this request, which the database makes of two columns."""
    return needs_of(request).key or request.model_id


def _beside(request: GenerationRequest) -> set[str]:
    found = {model for model in request.models_used if model != request.model_id}
    second = request.upscale
    if second is not None and request.task != UPSCALE and second.model and latent_mode(second.model) is None:
        found.add(second.model)
    return found

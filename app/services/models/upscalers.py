"""Upscalers of the installation, and the one that a request uses."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.catalog import ModelSpec
from app.core.latent_modes import latent_mode
from app.core.upscaling import Upscale, is_resampling, usual_upscaler
from app.errors import FieldError, InvalidRequest, UnknownModel
from app.files.loras import in_hub_cache
from app.services.context import AppContext
from app.services.models.fleet import Fleet, fleet_of
from app.store.queue.workers import ready_models


@dataclass(frozen=True)
class UpscalerState:
    """`available`: its weights are on this machine; `loaded`: a live worker holds it in memory."""

    spec: ModelSpec
    available: bool
    loaded: bool


def listing(context: AppContext) -> list[UpscalerState]:
    """All upscalers, those of the operator first."""
    loaded = {model_id for worker in context.workers.live() for model_id in ready_models(worker)}
    return [
        UpscalerState(spec, is_available(context, spec), is_resampling(spec) or spec.id in loaded)
        for spec in context.catalog.upscalers
    ]


def is_available(context: AppContext, spec: ModelSpec) -> bool:
    """Whether the weights are on this machine."""
    if is_resampling(spec):
        return True
    if spec.source == "huggingface":
        return in_hub_cache(context.settings.hub_cache, spec.repo, spec.options.file) is not None
    return _problem(context, spec) is None


def find_upscaler(
    context: AppContext, name: str | None, field: str, *, drawn_by: str | None, fleet: Fleet | None = None
) -> ModelSpec:
    """The upscaler called `name`; without a name the usual one for pictures of the model `drawn_by`.

    Raises UnknownModel, and InvalidRequest where its file cannot be used, and no worker of `fleet` (None: as it is now)
    has it; both name `field`.
    """
    if name is None:
        spec = usual_upscaler(context.catalog, drawn_by)
    else:
        try:
            spec = context.catalog.upscaler(name)
        except UnknownModel as unknown:
            raise UnknownModel(unknown.detail, errors=[FieldError(field, unknown.detail)]) from None
    problem = None if spec.source == "huggingface" else _problem(context, spec)
    if problem and not (fleet or fleet_of(context)).has_model(spec.id):
        raise InvalidRequest(f"{field}: {problem}.", errors=[FieldError(field, problem)])
    return spec


def with_upscaler(
    context: AppContext, second: Upscale | None, field: str, *, drawn_by: str, fleet: Fleet | None = None
) -> Upscale | None:
    """A second pass with the id of its upscaler, or the name of its latent mode; an upscaler that is called like one
    wins. Raises what `find_upscaler` does."""
    if second is None:
        return None
    mode = latent_mode(second.model)
    if mode is not None and context.catalog.find_upscaler(second.model) is None:
        return second.model_copy(update={"model": mode})
    spec = find_upscaler(context, second.model or None, field, drawn_by=drawn_by, fleet=fleet)
    return second.model_copy(update={"model": spec.id})


def _problem(context: AppContext, spec: ModelSpec) -> str | None:
    """Why the file of a local upscaler cannot be used; None if it can, as far as its name tells."""
    if is_resampling(spec):
        return None
    path = context.settings.local_path(spec.repo)
    if path.suffix.lower() != ".safetensors":
        return f"{spec.id} ({path.name}) is no .safetensors file; pickles can run code and are never loaded"
    return None if path.is_file() else f"the file of the upscaler {spec.id} is missing: put it at {spec.repo}"

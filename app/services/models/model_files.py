"""What of a model's weights is on this machine. Nothing is opened but a list of parts, and nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.errors import Conflict, InvalidRequest
from app.files import hub_cache
from app.services.context import AppContext


@dataclass(frozen=True)
class ModelFiles:
    """`available`: they are here and whole; of a remote model, there is a key for its provider. `bytes` is what they
    take on the disk, also those of a download that broke off; None of a remote model."""

    available: bool
    bytes: int | None


@dataclass(frozen=True)
class Download:
    """`eta_seconds` is until all is here, None when that is not known."""

    downloaded_bytes: int
    total_bytes: int
    eta_seconds: float | None = None


def files_of(context: AppContext, spec: ModelSpec) -> ModelFiles:
    settings = context.settings
    if spec.source == "local":
        path = settings.local_path(spec.repo)
        return ModelFiles(path.exists(), hub_cache.bytes_of(path))
    if spec.source == "huggingface":
        return ModelFiles(_is_here(context, spec), hub_cache.bytes_kept(settings.hub_cache, spec.repo))
    return ModelFiles(settings.has_key_for(spec.source), None)


def _is_here(context: AppContext, spec: ModelSpec) -> bool:
    return spec.source != "huggingface" or bool(hub_cache.snapshots(context.settings.hub_cache, spec.repo))


def downloads(context: AppContext) -> dict[str, Download]:
    """By model, how far the job or order is that downloads it just now. A job whose model is here fetches a LoRA."""
    fetching = {
        job.request.model_id: Download(job.progress.downloaded_bytes or 0, job.progress.total_bytes)
        for job in context.jobs.running()
        if job.progress.phase is Phase.DOWNLOADING and job.progress.total_bytes is not None
    }
    live = {worker["id"] for worker in context.workers.live()}
    for order in context.load_requests.being_loaded():
        if order.model_id is not None and order.total_bytes is not None and order.worker_id in live:
            fetching[order.model_id] = Download(order.downloaded_bytes or 0, order.total_bytes, order.eta_seconds)
    missing = {spec.id for spec in context.catalog if spec.id in fetching and not _is_here(context, spec)}
    return {model_id: progress for model_id, progress in fetching.items() if model_id in missing}


def remove(context: AppContext, spec: ModelSpec) -> int:
    """Delete the files of a hub model, in every version. Returns the bytes that this freed.

    Raises InvalidRequest for a model that does not come from the hub, Conflict while a job downloads it, OSError.
    """
    if spec.source == "local":
        path = context.settings.local_path(spec.repo)
        raise InvalidRequest(f"{spec.id} is yours, not a download: delete {path} yourself.")
    if spec.source != "huggingface":
        raise InvalidRequest(f"{spec.id} runs at a provider; nothing of it is here.")
    under_way = downloads(context)
    if any(other.repo == spec.repo and other.id in under_way for other in context.catalog):
        raise Conflict(f"{spec.repo} is being downloaded. Cancel the job, or unload the model, first.")
    return hub_cache.remove(context.settings.hub_cache, spec.repo)

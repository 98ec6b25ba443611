"""Which model weights are on this machine, read from the file system only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.memory_parts import DENOISERS
from app.errors import Conflict, InvalidRequest
from app.files import hub_cache
from app.services.context import AppContext


@dataclass(frozen=True)
class ModelFiles:
    """`available`: complete on this machine; of a remote model: the provider's API key is set. `bytes`: size on the
    disk, including interrupted downloads; None for remote models."""

    available: bool
    bytes: int | None


@dataclass(frozen=True)
class Download:
    """Progress of a download. `eta_seconds` is None when unknown."""

    downloaded_bytes: int
    total_bytes: int
    eta_seconds: float | None = None


def files_of(context: AppContext, spec: ModelSpec) -> ModelFiles:
    settings = context.settings
    if spec.lane == "remote":
        return ModelFiles(settings.has_key_for(spec.source), None)
    size = sum(hub_cache.bytes_of(path) for path in _local_paths(context, spec))
    size += sum(hub_cache.bytes_kept(settings.hub_cache, repo) for repo in hub_repos(context, spec))
    return ModelFiles(is_here(context, spec), size)


def hub_repos(context: AppContext, spec: ModelSpec) -> list[str]:
    """The hub's repositories that a model is made of: its own, its base and its VAE, as far as they are none of the
    folders and files here."""
    others = [name for name in (spec.options.base, spec.options.vae) if name is not None]
    found = [name for name in others if not context.settings.local_path(name).exists() and hub_cache.is_repo_id(name)]
    return [spec.repo, *found] if spec.source == "huggingface" else found


def _local_paths(context: AppContext, spec: ModelSpec) -> list[Path]:
    """The folders and files on this machine that a model is made of, those that are missing too."""
    names = [spec.repo, spec.options.base, spec.options.vae]
    hub = hub_repos(context, spec)
    return [context.settings.local_path(name) for name in names if name is not None and name not in hub]


def is_here(context: AppContext, spec: ModelSpec) -> bool:
    """Whether the files of a local model are complete on this machine."""
    options, cache = spec.options, context.settings.hub_cache
    replaced = (
        *(DENOISERS if options.base or options.gguf else ()),
        *(("vae",) if options.base or options.vae else ()),
    )
    if not all(path.exists() for path in _local_paths(context, spec)):
        return False
    return all(
        hub_cache.has_part(cache, repo, "vae") if repo == options.vae else hub_cache.snapshots(cache, repo, replaced)
        for repo in hub_repos(context, spec)
    )


def may_download(context: AppContext, spec: ModelSpec) -> bool:
    """Whether what is missing of a local model can be fetched from the hub: as far as it is not to be here already."""
    offline = os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}  # as the hub reads it
    return not offline and bool(hub_repos(context, spec)) and all(p.exists() for p in _local_paths(context, spec))


def downloads(context: AppContext) -> dict[str, Download]:
    """Progress of the download of each model, by a job or load request. Jobs with a complete model download a LoRA."""
    fetching = {
        job.request.model_id: Download(job.progress.downloaded_bytes or 0, job.progress.total_bytes)
        for job in context.jobs.running()
        if job.progress.phase is Phase.DOWNLOADING and job.progress.total_bytes is not None
    }
    live = {worker["id"] for worker in context.workers.live()}
    for request in context.load_requests.being_loaded():
        if request.model_id is not None and request.total_bytes is not None and request.worker_id in live:
            progress = Download(request.downloaded_bytes or 0, request.total_bytes, request.eta_seconds)
            fetching[request.model_id] = progress
    missing = {spec.id for spec in context.catalog if spec.id in fetching and not is_here(context, spec)}
    return {model_id: progress for model_id, progress in fetching.items() if model_id in missing}


def remove(context: AppContext, spec: ModelSpec) -> int:
    """Delete all versions of a hub model's files. Returns the bytes freed.

    Raises InvalidRequest for a model that is not from the hub, and Conflict while a model that needs the repository is
    being downloaded, or if the files cannot be deleted.
    """
    if spec.source == "local":
        path = context.settings.local_path(spec.repo)
        raise InvalidRequest(f"{spec.id} was not downloaded by CyberImage: delete {path} yourself.")
    if spec.source != "huggingface":
        raise InvalidRequest(f"{spec.id} runs at a provider; it has no files here.")
    under_way = downloads(context)
    if any(other.id in under_way and spec.repo in hub_repos(context, other) for other in context.catalog):
        raise Conflict(f"{spec.repo} is being downloaded. Cancel the job, or unload the model, first.")
    try:
        return hub_cache.remove(context.settings.hub_cache, spec.repo)
    except OSError as error:
        raise Conflict(
            f"The files of {spec.repo} could not be deleted: {error.strerror or error}. Some of them may be gone."
            " Delete its folder in the cache of the hub yourself, or give CyberImage the right to."
        ) from error

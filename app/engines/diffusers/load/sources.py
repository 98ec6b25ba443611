"""Locates the checkpoint of a catalogue entry: on the hub (downloaded if necessary), in a folder, or in one file.

A downloaded model is used without another request to the hub, so that it neither changes nor depends on the network;
`revision` in the model's options pins a version.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import huggingface_hub.errors as hub
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import fetch_diffusers_config
from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.checkpoint import (
    PICKLE_SUFFIXES,
    SKIPPED_PARTS,
    Checkpoint,
    inspect_file,
    inspect_folder,
    variant_of,
)
from app.engines.diffusers.load.cpu_limits import require_runnable_download
from app.engines.diffusers.load.downloads import resumable_downloads
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, download_error, log
from app.engines.diffusers.load.hub import plain_names_only
from app.engines.diffusers.load.weights import tensor_shapes
from app.errors import GenerationError, ModelUnavailable

_CONFIG_FILES = ["*.json", "**/*.json", "*.txt", "**/*.txt", "**/*.model"]  # kilobytes: no weights among them


def locate(spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    """The checkpoint of `spec`, on this machine. A download is reported to `control`, which may cancel it; its bytes
    are kept for the next time.

    Raises ModelUnavailable, ModelDownloadFailed, ModelRequiresAuth, StorageFull or Cancelled.
    """
    if spec.source == "huggingface":
        return _from_hub(spec, settings, control)
    path = _local_path(spec, settings)
    if path.is_dir():
        return inspect_folder(path, spec.options.variant, own_denoiser=not spec.options.gguf)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise ModelUnavailable(f"{path} is a pickle, which can run code, and is never loaded. Convert it first.")
    if path.suffix.lower() != ".safetensors":
        raise ModelUnavailable(f"{path} is neither a diffusers folder nor a .safetensors file.")
    return inspect_file(path, _config_folder(path, spec, control))


def _local_path(spec: ModelSpec, settings: EngineSettings) -> Path:
    places = settings.places_of(spec.repo)
    for place in places:
        if place.exists():
            return place
        if place.is_symlink():
            raise ModelUnavailable(f"The model {spec.id} is missing: {place} is a broken link. Correct the link.")
    raise ModelUnavailable(
        f"The model {spec.id} is missing: neither found at {' nor at '.join(map(str, places))}."
        " Put the folder or .safetensors file there, or correct the MODEL_ line."
    )


def _from_hub(spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    try:
        return _inspect_snapshot(_fetch(spec, local_files_only=True), spec)
    except DOWNLOAD_ERRORS:
        log.info("%s: %s is not on this machine", spec.id, spec.repo)
    except ModelUnavailable as problem:
        log.info("%s: the copy of %s on this machine is incomplete: %s", spec.id, spec.repo, problem)
    control.report(Phase.DOWNLOADING)
    try:
        require = partial(require_runnable_download, settings=settings)
        with resumable_downloads(control, settings.disk_floor_bytes, require):
            folder = _fetch(spec, local_files_only=False)
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec) from error
    return _inspect_snapshot(folder, spec)


def _fetch(spec: ModelSpec, *, local_files_only: bool) -> Path:
    """The snapshot folder in the hub's cache, with all files that the pipeline needs and no pickles."""
    folder = DiffusionPipeline.download(
        spec.repo,
        revision=spec.options.revision,
        variant=spec.options.variant or _only_variant(_file_names(spec, local_files_only)),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=local_files_only,
        **dict.fromkeys(SKIPPED_PARTS),
    )
    return Path(folder)


def _file_names(spec: ModelSpec, local_files_only: bool) -> list[str]:
    """The file names of a repository; with `local_files_only` as they were at download time."""
    repo, revision = spec.repo, spec.options.revision
    if not local_files_only:
        return list(HfApi().list_repo_files(repo, revision=revision))
    try:
        return [file.path for file in get_cached_repo_tree(repo, revision=revision)]
    except hub.CachedRepoTreeNotFoundError:
        return []


def _only_variant(names: Iterable[str]) -> str | None:
    """The variant of a repository that has weights in one variant only, of which diffusers would download none."""
    by_part: dict[str, set[str | None]] = {}
    for part, _, name in (name.rpartition("/") for name in names if name.endswith(".safetensors")):
        by_part.setdefault(part, set()).add(variant_of(name))
    only = [its for part, its in by_part.items() if part and part not in SKIPPED_PARTS and None not in its]
    common = set.intersection(*only) if only else set()
    return next(iter(common)) if len(common) == 1 else None


def _inspect_snapshot(folder: Path, spec: ModelSpec) -> Checkpoint:
    commit = folder.name  # …/snapshots/<commit hash>
    return inspect_folder(folder, spec.options.variant, commit, own_denoiser=not spec.options.gguf)


def _config_folder(file: Path, spec: ModelSpec, control: Control) -> Path:
    """The configuration folder of a single file: the one beside it with its name, or the hub's for its family."""
    beside = file.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    shapes = {name: torch.empty(shape, device="meta") for name, shape in tensor_shapes(file).items()}
    repo = str(fetch_diffusers_config(shapes)["pretrained_model_name_or_path"])
    try:
        return _fetch_config(repo, local_files_only=True)
    except DOWNLOAD_ERRORS:
        control.report(Phase.DOWNLOADING)
    try:
        return _fetch_config(repo, local_files_only=False)
    except DOWNLOAD_ERRORS as error:
        reason = download_error(error, spec.model_copy(update={"repo": repo}))
        raise type(reason)(_without_config(file, repo, reason)) from error


def _fetch_config(repo: str, *, local_files_only: bool) -> Path:
    with plain_names_only():
        folder = Path(snapshot_download(repo, allow_patterns=_CONFIG_FILES, local_files_only=local_files_only))
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} has no model_index.json")
    return folder


def _without_config(file: Path, repo: str, reason: GenerationError) -> str:
    return (
        f"{file} looks like a model of the family of {repo}, whose configuration is needed to load it. Put the JSON and"
        f" text files of that repo into the folder {file.with_suffix('')}, or enable this machine to download them:"
        f" {reason}"
    )

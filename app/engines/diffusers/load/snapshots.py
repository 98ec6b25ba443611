"""Locates models in the hub's cache, and downloads what they lack.

A downloaded model is used without another request to the hub, so that it neither changes nor depends on the network;
`revision` in the model's options pins a version.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import huggingface_hub.errors as hub
from diffusers import DiffusionPipeline
from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.checkpoint import SKIPPED_PARTS, Checkpoint, inspect_folder
from app.engines.diffusers.load.cpu_limits import require_runnable_download
from app.engines.diffusers.load.downloads import resumable_downloads
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, download_error, log
from app.engines.diffusers.load.hub import plain_names_only
from app.errors import ModelUnavailable
from app.files.weights import variant_of

_CONFIG_FILES = ["*.json", "**/*.json", "*.txt", "**/*.txt", "**/*.model"]  # kilobytes: no weights among them


def from_hub(spec: ModelSpec, settings: EngineSettings, control: Control, elsewhere: tuple[str, ...]) -> Checkpoint:
    """The checkpoint in a repository, downloaded if necessary but for the weights of the parts `elsewhere`. Raises what
    `sources.locate` does."""
    try:
        return _inspect_snapshot(_fetch(spec, elsewhere, local_files_only=True), spec, elsewhere)
    except DOWNLOAD_ERRORS:
        log.info("%s: %s is not on this machine", spec.id, spec.repo)
    except ModelUnavailable as problem:
        log.info("%s: the copy of %s on this machine is incomplete: %s", spec.id, spec.repo, problem)
    control.report(Phase.DOWNLOADING)
    try:
        require = partial(require_runnable_download, settings=settings)
        with resumable_downloads(control, settings.disk_floor_bytes, require):
            folder = _fetch(spec, elsewhere, local_files_only=False)
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec) from error
    return _inspect_snapshot(folder, spec, elsewhere)


def _fetch(spec: ModelSpec, elsewhere: tuple[str, ...], *, local_files_only: bool) -> Path:
    """The snapshot folder in the hub's cache, with all files that the pipeline needs and no pickles. Of the parts
    `elsewhere` only the configuration is fetched."""
    folder = DiffusionPipeline.download(
        spec.repo,
        revision=spec.options.revision,
        variant=spec.options.variant or _only_variant(_file_names(spec, local_files_only)),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=local_files_only,
        **dict.fromkeys((*SKIPPED_PARTS, *elsewhere)),
    )
    if elsewhere:
        fetch_config(spec.repo, local_files_only=local_files_only, revision=Path(folder).name)
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


def _inspect_snapshot(folder: Path, spec: ModelSpec, elsewhere: tuple[str, ...]) -> Checkpoint:
    commit = folder.name  # …/snapshots/<commit hash>
    return inspect_folder(folder, spec.options.variant, commit, elsewhere=elsewhere)


def fetch_config(repo: str, *, local_files_only: bool, revision: str | None = None) -> Path:
    """The folder with the configuration files of a repository. Raises what is in DOWNLOAD_ERRORS."""
    with plain_names_only():
        folder = Path(
            snapshot_download(repo, revision=revision, allow_patterns=_CONFIG_FILES, local_files_only=local_files_only)
        )
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} has no model_index.json")
    return folder

"""Locates the VAE that a model's option names: a file, a folder, or a repository on the hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from diffusers.pipelines import pipeline_utils
from huggingface_hub import HfApi, snapshot_download

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.composition import vae_folder_in, with_vae_file, with_vae_folder
from app.engines.diffusers.load.cpu_limits import require_runnable_download
from app.engines.diffusers.load.downloads import resumable_downloads
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, download_error
from app.engines.diffusers.load.hub import plain_names_only
from app.errors import ModelUnavailable
from app.files.hub_cache import is_repo_id
from app.files.weights import variant_of

_WEIGHTS = "diffusion_pytorch_model"  # how diffusers names them; other files are copies in other layouts

_CONFIGS = ("config.json", "vae/config.json")


def with_vae(
    checkpoint: Checkpoint, name: str, spec: ModelSpec, settings: EngineSettings, control: Control
) -> Checkpoint:
    """`checkpoint` with the VAE called `name`. Raises what `sources.locate` does."""
    places = settings.places_of(name)
    place = next((place for place in places if place.exists()), None)
    if place is None and is_repo_id(name):
        return _from_hub(checkpoint, spec.model_copy(update={"repo": name}), settings, control)
    if place is None:
        raise ModelUnavailable(
            f"The VAE {name!r} of {spec.id} is not a repository, and nothing is at {' nor at '.join(map(str, places))}."
            " Correct its option vae."
        )
    if place.is_dir():
        return with_vae_folder(checkpoint, place, spec.options.variant, None)
    if place.suffix.lower() != ".safetensors":
        raise ModelUnavailable(f"The VAE {place} of {spec.id} is neither a folder nor a .safetensors file.")
    return with_vae_file(checkpoint, place)


def _from_hub(checkpoint: Checkpoint, spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    variant = spec.options.variant
    try:
        with plain_names_only():
            folder = Path(snapshot_download(spec.repo, local_files_only=True, allow_patterns=list(_CONFIGS)))
        return with_vae_folder(checkpoint, folder, variant, folder.name)
    except (*DOWNLOAD_ERRORS, ModelUnavailable):
        folder = download_vae(spec, settings, control)
    if vae_folder_in(folder) is None:
        raise ModelUnavailable(f"{spec.repo} has no VAE in diffusers' format. Correct the option vae.")
    return with_vae_folder(checkpoint, folder, variant, folder.name)


def download_vae(spec: ModelSpec, settings: EngineSettings, control: Control) -> Path:
    """The folder with the configuration and weights of a VAE from the repository of `spec`, and nothing else of it.
    Raises what a download does."""
    control.report(Phase.DOWNLOADING)
    try:
        require = partial(require_runnable_download, settings=settings)
        with resumable_downloads(control, settings.disk_floor_bytes, require):
            # the name that `resumable_downloads` replaces
            return Path(pipeline_utils.snapshot_download(spec.repo, allow_patterns=_files_of(spec)))
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec) from error


def _files_of(spec: ModelSpec) -> list[str]:
    """The files of a VAE in a repository: at its top, or else in its folder `vae`; one variant of the weights."""
    names = list(HfApi().list_repo_files(spec.repo))
    for folder in ("", "vae/"):
        weights = [name for name in names if name.startswith(f"{folder}{_WEIGHTS}") and ".safetensors" in name]
        if weights and f"{folder}config.json" in names:
            variants = {name: variant_of(name.rpartition("/")[2].removesuffix(".index.json")) for name in weights}
            wanted = spec.options.variant if spec.options.variant in variants.values() else None
            chosen = [name for name, its in variants.items() if its == wanted] or weights
            return [f"{folder}config.json", *chosen]
    return list(_CONFIGS)

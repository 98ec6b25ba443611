"""Locates the checkpoint of a catalogue entry: on the hub (downloaded if necessary), in a folder, or in one file."""

from __future__ import annotations

from pathlib import Path

from app.core.catalog import ModelSpec
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.checkpoint import PICKLE_SUFFIXES, Checkpoint, inspect_folder
from app.engines.diffusers.load.single_files import elsewhere_of, file_on_base, single_file
from app.engines.diffusers.load.snapshots import from_hub
from app.engines.diffusers.load.vae_sources import with_vae
from app.errors import ModelUnavailable


def locate(spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    """The checkpoint of `spec`, on this machine, with its base and its separate VAE. A download is reported to
    `control`, which may cancel it; its bytes are kept for the next time.

    Raises ModelUnavailable, ModelDownloadFailed, ModelRequiresAuth, StorageFull or Cancelled.
    """
    if spec.source == "huggingface":
        found = from_hub(spec, settings, control, elsewhere_of(spec))
    else:
        found = _local(spec, settings, control)
    return with_vae(found, spec.options.vae, spec, settings, control) if spec.options.vae else found


def _local(spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    path = _local_path(spec, settings)
    base = spec.options.base
    if path.is_dir():
        if base:
            raise ModelUnavailable(f"{path} is a folder with all parts of a model. Remove the option base.")
        return inspect_folder(path, spec.options.variant, elsewhere=elsewhere_of(spec))
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise ModelUnavailable(f"{path} is a pickle, which can run code, and is never loaded. Convert it first.")
    if suffix not in (".safetensors", ".gguf"):
        raise ModelUnavailable(f"{path} is neither a diffusers folder nor a .safetensors or .gguf file.")
    if base:
        return file_on_base(path, base, spec, settings, control)
    if suffix == ".gguf":
        raise ModelUnavailable(
            f"{path} holds a denoiser only. Name the diffusers folder or repository that has the other parts in the"
            ' options of its MODEL_ line, such as {"base": "owner/repo"}.'
        )
    return single_file(path, spec, control)


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

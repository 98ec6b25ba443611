"""Small decoders for previews, named by a model's option preview_vae: diffusers' AutoencoderTiny (TAESD, TAEF1).

One is used if it is here, and downloaded only by `cyberimage models fetch`: a preview is not worth a download that a
job would wait for, and nothing that goes wrong with it stops a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from huggingface_hub.constants import HF_HUB_CACHE

from app.core.catalog import ModelSpec
from app.core.faults import is_beyond_the_job
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.composition import part_config
from app.engines.diffusers.load.errors import LOAD_ERRORS, log
from app.engines.diffusers.load.vae_sources import download_vae
from app.errors import ModelUnavailable
from app.files.hub_cache import is_repo_id, repo_folder

_CLASS = "AutoencoderTiny"
_MOST_BYTES = 100_000_000  # TAESD has 5 MB; it is not counted in the memory plan


def load_preview_vae(spec: ModelSpec, settings: EngineSettings, device: torch.device, dtype: torch.dtype) -> Any:
    """The small decoder of `spec` on `device`; None if its line names none, or none that can be used here."""
    name = spec.options.preview_vae
    if name is None or not settings.previews:
        return None
    folder = _folder(name, settings)
    if folder is None:
        log.info("%s: its preview_vae %s is not here; previews are decoded by its own VAE", spec.id, name)
        return None
    problem = _problem(folder)
    if not problem:
        try:
            part: Any = diffusers.AutoencoderTiny
            return part.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True).to(device)
        except LOAD_ERRORS as error:
            if is_beyond_the_job(error):
                raise
            problem = (str(error).splitlines() or [type(error).__name__])[0]
    log.warning("%s: its preview_vae %s cannot be used: %s", spec.id, name, problem)
    return None


def fetch_preview_vae(spec: ModelSpec, settings: EngineSettings, control: Control) -> None:
    """Download the small decoder of `spec` unless it is here, or is no repository. Raises what a download does."""
    name = spec.options.preview_vae
    if name is None or not is_repo_id(name) or _folder(name, settings) is not None:
        return
    folder = download_vae(spec.model_copy(update={"repo": name}), settings, control)
    if problem := _problem(folder):
        raise ModelUnavailable(f"The preview_vae {name} of {spec.id} cannot be used: {problem}. Correct the option.")


def _folder(name: str, settings: EngineSettings) -> Path | None:
    """Its folder on this machine."""
    here = [place for place in settings.places_of(name) if place.is_dir()]
    snapshots = (repo_folder(Path(HF_HUB_CACHE), name) / "snapshots").glob("*") if is_repo_id(name) else ()
    return next((folder for folder in (*here, *snapshots) if any(folder.glob("*.safetensors"))), None)


def _problem(folder: Path) -> str:
    found = part_config(folder).get("_class_name")
    if found != _CLASS:
        return f"it is {found or 'without a config.json'}, not {_CLASS}"
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return f"it has {size / 1e6:.0f} MB, more than {_MOST_BYTES / 1e6:.0f}" if size > _MOST_BYTES else ""

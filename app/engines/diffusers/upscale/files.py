"""Locates the weights of upscalers: a file here, or one in a repository of the hub, downloaded if necessary."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.downloads import fetch_file
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, Advice, download_error, log
from app.errors import LoraUnavailable, ModelUnavailable
from app.files.loras import has_lora_suffix as is_safetensors
from app.files.loras import in_hub_cache

MOST_BYTES = 4 * 2**30  # the largest known ones have 2.5 GB
_ADVICE = Advice("an upscaler", "put its .safetensors file into MODEL_CACHE_DIR", "the repo in the MODEL_ line")


def locate_upscaler(spec: ModelSpec, settings: EngineSettings, control: Control) -> Path:
    """The path of the weights. A download is reported to `control`, which may cancel it; its bytes are kept.

    Raises ModelUnavailable, ModelDownloadFailed, ModelRequiresAuth, StorageFull or Cancelled.
    """
    return _from_hub(spec, settings, control) if spec.source == "huggingface" else _local(spec, settings)


def _local(spec: ModelSpec, settings: EngineSettings) -> Path:
    if not is_safetensors(Path(spec.repo)):
        raise ModelUnavailable(f"{spec.repo} is no .safetensors file. Pickles can run code and are never loaded.")
    places = settings.places_of(spec.repo)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ModelUnavailable(
            f"The upscaler {spec.id} is missing: neither found at {' nor at '.join(map(str, places))}."
        )
    return found


def _from_hub(spec: ModelSpec, settings: EngineSettings, control: Control) -> Path:
    known = in_hub_cache(Path(HF_HUB_CACHE), spec.repo, spec.options.file)
    if known is not None:
        return known
    control.report(Phase.DOWNLOADING)
    try:
        found = HfApi().model_info(spec.repo).siblings or ()
        name = spec.options.file or _only_file(spec, [each.rfilename for each in found])
        log.info("downloading the upscaler %s/%s", spec.repo, name)
        return fetch_file(spec.repo, name, control, settings.disk_floor_bytes, MOST_BYTES)
    except LoraUnavailable:
        raise ModelUnavailable(f"{spec.repo}/{name} has more than {MOST_BYTES:,} bytes.") from None
    except DOWNLOAD_ERRORS as error:
        raise download_error(error, spec, _ADVICE) from error


def _only_file(spec: ModelSpec, names: list[str]) -> str:
    candidates = [name for name in names if is_safetensors(Path(name))]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ModelUnavailable(
            f"{spec.repo} has several .safetensors files, such as {', '.join(candidates[:3])}. Name one in the MODEL_"
            f' line: {{"kind": "upscaler", "file": "{candidates[0]}"}}.'
        )
    raise ModelUnavailable(f"{spec.repo} has no .safetensors file. Pickles can run code and are never loaded.")

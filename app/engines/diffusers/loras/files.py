"""Locates LoRA files: in LORAS_DIR, or on the hub, downloaded if necessary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.errors as hub
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import Control, EngineSettings
from app.engines.diffusers.load.downloads import fetch_file, require_size
from app.engines.diffusers.load.errors import DOWNLOAD_ERRORS, LORA, download_error, log
from app.engines.diffusers.load.weights import fingerprint
from app.engines.diffusers.loras.cache import LoraRequest
from app.errors import LoraUnavailable
from app.files import loras as files


def find_loras(request: GenerationRequest, settings: EngineSettings, control: Control) -> Sequence[LoraRequest]:
    """The LoRAs of `request`, each a complete safetensors file on this machine. Raises what `locate_lora` does."""
    return [find_lora(choice.id, settings, control, choice.scale) for choice in request.loras]


def find_lora(lora_id: str, settings: EngineSettings, control: Control, scale: float = 1.0) -> LoraRequest:
    """One LoRA by its id. Raises what `locate_lora` does."""
    file = locate_lora(lora_id, settings, control)
    return LoraRequest(file, files.inspect(file, lora_id), scale)


def describe(loras: Sequence[LoraRequest]) -> list[dict[str, Any]]:
    """LoRAs for the manifest: id, scale and a fingerprint of the weights, since a file may be changed."""
    return [
        {"id": lora.card.id, "scale": lora.scale, "revision": fingerprint(lora.file.parent, [lora.file])}
        for lora in loras
    ]


def locate_lora(lora_id: str, settings: EngineSettings, control: Control) -> Path:
    """The path of a LoRA. A download is reported to `control`, which may cancel it; its bytes are kept.

    Raises LoraUnavailable, ModelDownloadFailed, ModelRequiresAuth, StorageFull or Cancelled.
    """
    local = files.find(settings.loras_dir, lora_id)
    if local is not None:
        return local
    if files.is_broken_link(settings.loras_dir, lora_id):
        raise LoraUnavailable(
            f"The LoRA {lora_id} is a broken link. Correct it in {settings.loras_dir.name}/ (LORAS_DIR)."
        )
    named = files.repo_of(lora_id)
    if named is None or not settings.lora_hub:
        raise LoraUnavailable(
            f"There is no LoRA {lora_id!r}. Put its .safetensors file into {settings.loras_dir.name}/ (LORAS_DIR)."
        )
    repo, name = named
    known = files.in_hub_cache(Path(HF_HUB_CACHE), repo, name)
    if known is not None:
        return known
    control.report(Phase.DOWNLOADING)
    try:
        return _download(repo, name, settings, control)
    except hub.RepositoryNotFoundError:
        raise LoraUnavailable(
            f"The hub has no {repo}, or it is private. Check {LORA.name}; if it is private, set HF_TOKEN."
        ) from None
    except DOWNLOAD_ERRORS as error:
        spec = ModelSpec(id="lora", name="lora", repo=repo, description="", source="huggingface")
        raise download_error(error, spec, LORA) from error


def _download(repo: str, name: str | None, settings: EngineSettings, control: Control) -> Path:
    found = {each.rfilename: each.size or 0 for each in HfApi().model_info(repo, files_metadata=True).siblings or ()}
    name = name or _only_lora(repo, list(found))
    if name not in found:
        raise LoraUnavailable(f"{repo} has no file {name}.")
    require_size(f"{repo}/{name}", found[name], settings.lora_max_bytes)
    log.info("downloading the LoRA %s/%s, %s bytes", repo, name, found[name])
    return fetch_file(repo, name, control, settings.disk_floor_bytes, settings.lora_max_bytes)


def _only_lora(repo: str, names: list[str]) -> str:
    candidates = [name for name in names if files.has_lora_suffix(Path(name))]
    if files.USUAL_NAME in candidates:
        return files.USUAL_NAME
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        named = ", ".join(f"{repo}/{name}" for name in candidates[:5])
        raise LoraUnavailable(f"{repo} has several LoRAs; name one of them: {named}.")
    raise LoraUnavailable(f"{repo} has no .safetensors file. Pickles can run code and are never loaded.")

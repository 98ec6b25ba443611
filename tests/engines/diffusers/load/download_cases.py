"""Cases run by hub_process.py with HF_ENDPOINT and HF_HOME set. Prints one JSON object."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from app.core.catalog import ModelSpec
from app.engines.base import EngineSettings
from app.engines.diffusers.load import downloads
from app.engines.diffusers.load.hub import bound_hub_answers
from app.engines.diffusers.load.sources import locate
from app.engines.diffusers.loras.files import locate_lora
from app.errors import Cancelled, GenerationError
from app.files import hub_cache
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.load.hub_process import shorten_retries

CHUNK = 4096
LARGE_FILES = {"tiny/flux-stalled": 4, "tiny/sd15-stalled": 3, "tiny/lora-stalled": 1}  # at most as many as at once


class Impatient(Recorder):
    """Cancels when each large file has come to the silence in its middle."""

    def __init__(self, repo: str) -> None:
        super().__init__()
        self._repo = repo

    def cancelled(self) -> bool:
        sizes = partial_sizes(self._repo)
        return len(sizes) == LARGE_FILES[self._repo] and min(sizes) > 2 * CHUNK


def partials(repo: str) -> list[Path]:
    return list(hub_cache.repo_folder(Path(HF_HUB_CACHE), repo).glob("blobs/*.partial"))


def partial_sizes(repo: str) -> list[int]:
    return sorted(path.stat().st_size for path in partials(repo))


def attempt(repo: str, control: Recorder | None = None, **settings: int) -> dict[str, object]:
    spec = ModelSpec(id="model", name="model", repo=repo, description="", source="huggingface")
    harness = Path(sys.argv[1])
    control = control or Recorder()
    result: dict[str, object] = {"error": None, "detail": ""}
    try:
        found = locate(spec, EngineSettings(root=harness, model_cache_dir=harness, **settings), control)
        result["bytes"] = sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    except Cancelled:
        result["error"] = "Cancelled"
    except GenerationError as error:
        result |= {"error": type(error).__name__, "detail": error.detail}
    return result | {
        "downloads": control.downloads,
        "partial": partial_sizes(repo),
        "available": bool(hub_cache.snapshots(Path(HF_HUB_CACHE), repo)),
    }


def attempt_lora(repo: str, control: Recorder | None = None) -> dict[str, object]:
    """As `attempt`, of the LoRA that `repo` holds."""
    harness = Path(sys.argv[1])
    control = control or Recorder()
    result: dict[str, object] = {"error": None}
    settings = EngineSettings(root=harness, model_cache_dir=harness, loras_dir=harness, lora_max_bytes=10_000_000)
    try:
        found = locate_lora(repo, settings, control)
        result["bytes"] = found.stat().st_size
    except Cancelled:
        result["error"] = "Cancelled"
    except GenerationError as error:
        result |= {"error": type(error).__name__, "detail": error.detail, "kept": kept(repo)}
    return result | {"downloads": control.downloads, "partial": partial_sizes(repo)}


def kept(repo: str) -> list[str]:
    """What is left of the repo's files."""
    return [path.name for path in hub_cache.repo_folder(Path(HF_HUB_CACHE), repo).glob("blobs/*")]


def damage(repo: str) -> None:
    """Turn a bit in a partial file."""
    path = max(partials(repo), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def main() -> None:
    logging.disable(logging.CRITICAL)
    shorten_retries()
    bound_hub_answers()
    downloads._CHUNK_BYTES = CHUNK
    results = {
        "whole": attempt("tiny/flux"),
        "again": attempt("tiny/flux"),
        "cut": attempt("tiny/flux-cut"),
        "cancelled": attempt("tiny/flux-stalled", Impatient("tiny/flux-stalled")),
        "resumed": attempt("tiny/flux-stalled"),
        "no_room": attempt("tiny/sd15", disk_floor_bytes=2**60),
        "cancelled_too": attempt("tiny/sd15-stalled", Impatient("tiny/sd15-stalled")),
    }
    results["lora"] = attempt_lora("tiny/lora")
    results["lora_again"] = attempt_lora("tiny/lora")
    results["lora_cancelled"] = attempt_lora("tiny/lora-stalled", Impatient("tiny/lora-stalled"))
    results["lora_resumed"] = attempt_lora("tiny/lora-stalled")
    for lie in ("etag", "hash", "size", "endless", "listing", "redirects"):
        results[f"lying_{lie}"] = attempt_lora(f"lying/{lie}")
    damage("tiny/sd15-stalled")
    results["damaged"] = attempt("tiny/sd15-stalled")
    results["mended"] = attempt("tiny/sd15-stalled")
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()

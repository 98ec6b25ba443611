"""The local Hugging Face cache: whether a repo is complete, its size, deleting it. No network access."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from app.core.memory_parts import DENOISERS

PARTIAL = ".partial"  # a blob that is being downloaded
_NOT_NEEDED = frozenset({"safety_checker"})  # never a part of the pipeline here
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_repo_id(name: str) -> bool:
    """Whether `name` has the form `owner/repository`."""
    return _REPO.fullmatch(name) is not None and ".." not in name


def repo_folder(cache: Path, repo: str) -> Path:
    """The folder of `repo` in huggingface_hub's cache."""
    return cache / f"models--{repo.replace('/', '--')}"


def snapshots(cache: Path, repo: str, elsewhere: Collection[str] = ()) -> list[Path]:
    """The complete local versions of `repo`, as diffusers folders. The parts `elsewhere` may lack their weights."""
    return sorted(folder.parent for folder in indexes(cache, repo) if _is_complete(folder, elsewhere))


def has_part(cache: Path, repo: str, part: str) -> bool:
    """Whether a local version of `repo` has the weights of a part, in a folder of its name or at the top."""
    folders = (repo_folder(cache, repo) / "snapshots").glob("*")
    return any(any(place.glob("*.safetensors")) for folder in folders for place in (folder, folder / part))


def indexes(cache: Path, repo: str) -> Iterator[Path]:
    """The `model_index.json` of each local version of `repo`, complete or not: it is downloaded first."""
    return (repo_folder(cache, repo) / "snapshots").glob("*/model_index.json")


def read_object(file: Path | None) -> dict[str, Any]:
    """The content of a JSON file, such as a `model_index.json`; empty if there is none that can be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else None
    except (OSError, ValueError, RecursionError):  # the last for JSON that nests too deep
        return {}
    return found if isinstance(found, dict) else {}


def _is_complete(index: Path, elsewhere: Collection[str]) -> bool:
    """Whether every part that the index lists exists: downloads start with the index and link the rest last."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    parts = listed.items() if isinstance(listed, dict) else ()
    needed = [name for name, kind in parts if isinstance(kind, list) and kind and kind[0]]
    folders = [index.parent / name for name in needed if name not in _NOT_NEEDED and name[0] != "_"]
    return all(folder.is_dir() and (folder.name in elsewhere or _has_weights(folder)) for folder in folders)


def _has_weights(part: Path) -> bool:
    """False for a denoiser or VAE of which only the configuration was fetched, for a model that replaces it."""
    return not part.name.startswith((*DENOISERS, "vae")) or any(part.glob("*.safetensors"))


def bytes_of(path: Path) -> int:
    """The size of a file, or of all files in a folder; 0 if it does not exist."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def bytes_kept(cache: Path, repo: str) -> int:
    """The size of `repo` on the disk, including interrupted downloads."""
    files = (path for path in repo_folder(cache, repo).rglob("*") if not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file())


def remove(cache: Path, repo: str) -> int:
    """Delete all versions of `repo`. Returns the bytes freed; raises OSError."""
    freed = bytes_kept(cache, repo)
    folder = repo_folder(cache, repo)
    if folder.is_dir():
        shutil.rmtree(folder)
    return freed

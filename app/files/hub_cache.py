"""What of a hub repo is on this machine: is it whole, how large is it, and getting rid of it. It asks no network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"  # a blob that is still being fetched
_NOT_NEEDED = frozenset({"safety_checker"})  # never a part of the pipeline here


def repo_folder(cache: Path, repo: str) -> Path:
    """Where huggingface_hub keeps `repo` in its cache."""
    return cache / f"models--{repo.replace('/', '--')}"


def snapshots(cache: Path, repo: str) -> list[Path]:
    """The versions of `repo` that are here and whole, as diffusers folders."""
    return sorted(folder.parent for folder in _indexes(cache, repo) if _is_whole(folder))


def _indexes(cache: Path, repo: str) -> Iterator[Path]:
    return (repo_folder(cache, repo) / "snapshots").glob("*/model_index.json")


def _is_whole(index: Path) -> bool:
    """Whether every part that the index lists is there: a download begins with the index and links the rest last."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    parts = listed.items() if isinstance(listed, dict) else ()
    needed = [name for name, kind in parts if isinstance(kind, list) and kind and kind[0]]
    return all((index.parent / name).is_dir() for name in needed if name not in _NOT_NEEDED and name[0] != "_")


def bytes_of(path: Path) -> int:
    """The size of a file, or of all files under a folder; 0 when it is not there."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def bytes_kept(cache: Path, repo: str) -> int:
    """All that `repo` takes on the disk, also of downloads that broke off."""
    files = (path for path in repo_folder(cache, repo).rglob("*") if not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file())


def remove(cache: Path, repo: str) -> int:
    """Delete every version of `repo`. Returns the bytes that this freed; raises OSError."""
    freed = bytes_kept(cache, repo)
    folder = repo_folder(cache, repo)
    if folder.is_dir():
        shutil.rmtree(folder)
    return freed

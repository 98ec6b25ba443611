"""LoRA files in the LoRA folder: list, find by name, inspect."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from app.core.lora_metadata import base_model_of, stated_family, trigger_words_of
from app.core.loras import LoraFile, family_of, is_lora, rank_of, repo_of
from app.errors import LoraUnavailable
from app.files.hub_cache import repo_folder
from app.files.weights import DamagedFile, read_header

__all__ = [
    "SUFFIX",
    "USUAL_NAME",
    "all_files",
    "find",
    "has_lora_suffix",
    "in_hub_cache",
    "inspect",
    "is_broken_link",
    "name_of",
    "repo_of",
]

SUFFIX = ".safetensors"
USUAL_NAME = "pytorch_lora_weights.safetensors"  # diffusers' name


def find(folder: Path, lora_id: str) -> Path | None:
    """The file in `folder` named `lora_id`, with or without suffix; None if there is none.

    An absolute or relative path to it is accepted too. No name leaves `folder`; symbolic links in it are followed,
    because its owner made them.
    """
    for place in _places(folder, lora_id):
        with contextlib.suppress(OSError):  # the name is too long for the file system
            if (file := _file_at(place)) is not None:
                return file
    return None


def is_broken_link(folder: Path, lora_id: str) -> bool:
    """Whether `lora_id` names a broken link in `folder`."""
    for place in _places(folder, lora_id):
        with contextlib.suppress(OSError):
            if any(each.is_symlink() and not each.exists() for each in (place, _with_suffix(place))):
                return True
    return False


def _places(folder: Path, lora_id: str) -> Iterator[Path]:
    """Candidate paths in `folder`, computed from names only: `..` is resolved before links are followed."""
    if "\0" in lora_id:
        return
    root = Path(os.path.abspath(folder))  # without resolving links
    for base in (root, Path.cwd()):
        place = Path(os.path.normpath(base / lora_id))
        for known in (root, folder.resolve()):
            if place.is_relative_to(known):
                yield root / place.relative_to(known)


def _file_at(place: Path) -> Path | None:
    """The file at `place`, ignoring the case of its name; one that is spelled as asked comes first."""
    exact = place if place.suffix.lower() == SUFFIX else _with_suffix(place)
    if exact.is_file():
        return exact
    if not exact.parent.is_dir():
        return None
    wanted = exact.stem.casefold()
    similar = [file for file in exact.parent.iterdir() if file.stem.casefold() == wanted and has_lora_suffix(file)]
    similar.sort(key=lambda file: (file.stem != exact.stem, file.name))
    return next((file for file in similar if file.is_file()), None)


def _with_suffix(place: Path) -> Path:
    return place.with_name(f"{place.name}{SUFFIX}")


def has_lora_suffix(file: Path) -> bool:
    """True for safetensors files; some programs write the suffix in upper case."""
    return file.suffix.lower() == SUFFIX


def name_of(folder: Path, file: Path) -> str:
    """The name of a file of `folder` in requests: its relative path without suffix."""
    return file.relative_to(folder).with_suffix("").as_posix()


def in_hub_cache(cache: Path, repo: str, name: str | None) -> Path | None:
    """The downloaded file of a repo; without a name, the usual one, or the only one present."""
    snapshots = repo_folder(cache, repo) / "snapshots"
    candidates = snapshots.glob(f"*/{name}") if name else (f for f in snapshots.glob("*/*") if has_lora_suffix(f))
    found = sorted(candidates, key=lambda path: path.stat().st_mtime_ns)
    usual = [path for path in found if path.name == USUAL_NAME]
    if name is None and not usual and len({path.name for path in found}) > 1:
        return None  # ambiguous: only the hub's list of files can decide
    return (usual or found)[-1] if found else None


def all_files(folder: Path) -> Iterator[Path]:
    """All LoRA files, and links with such a name, sorted by name. Links to folders are followed, each folder
    once. Names that are no UTF-8 are left out: no answer can hold them."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()  # a link to a folder above
            continue
        seen.add(real)
        files = (Path(place, name) for name in names if _is_text(place + name))
        found += [file for file in files if has_lora_suffix(file) and (file.is_file() or file.is_symlink())]
    yield from sorted(found)


def _is_text(name: str) -> bool:
    """Whether a name of the file system is UTF-8: other bytes come as surrogates, which cannot be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def inspect(file: Path, lora_id: str) -> LoraFile:
    """Read the properties of `file`. Raises LoraUnavailable with the problem."""
    try:
        header = read_header(file)
        size = file.stat().st_size
    except DamagedFile as problem:
        raise LoraUnavailable(f"The LoRA {lora_id} cannot be used: {problem}.") from None
    except OSError:
        raise LoraUnavailable(f"The LoRA {lora_id} cannot be read.") from None
    if not is_lora(header.shapes):
        raise LoraUnavailable(f"{lora_id} is not a LoRA: none of its {len(header.tensors)} tensors belongs to one.")
    family, rank, about = family_of(header.shapes), rank_of(header.shapes), header.metadata
    return LoraFile(lora_id, stated_family(about, family), size, rank, base_model_of(about), trigger_words_of(about))

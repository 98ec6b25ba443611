"""LoRA files in the folder of LoRAs: which there are, what a name means, and what is inside one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from app.core.loras import LoraFile, family_of, is_lora, other_kind, rank_of
from app.errors import LoraUnavailable
from app.files.safetensors import DamagedFile, read_header

SUFFIX = ".safetensors"
USUAL_NAME = "pytorch_lora_weights.safetensors"  # as diffusers calls it
_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/([\w./-]+\.safetensors))?", re.ASCII)


def find(folder: Path, lora_id: str) -> Path | None:
    """The file in `folder` that `lora_id` names, with or without its suffix; None when there is none.

    A path that leads to it, from anywhere on this machine, names it too. Nothing outside of `folder` is ever found.
    """
    if "\0" in lora_id:
        return None
    root = folder.resolve()
    for place in (folder / lora_id, folder / f"{lora_id}{SUFFIX}", Path.cwd() / lora_id):
        with contextlib.suppress(OSError):  # a name longer than names may be
            file = place.resolve()
            if file.suffix == SUFFIX and file.is_relative_to(root) and file.is_file():
                return file
    return None


def name_of(folder: Path, file: Path) -> str:
    """What requests call a file of `folder`: its relative path, without the suffix."""
    return file.relative_to(folder.resolve()).with_suffix("").as_posix()


def repo_of(lora_id: str) -> tuple[str, str | None] | None:
    """`owner/repo` and the file in it that `lora_id` names, if it names a repo of the hub at all."""
    found = _REPO.fullmatch(lora_id)
    return None if found is None or ".." in lora_id else (found[1], found[2])


def in_hub_cache(cache: Path, repo: str, name: str | None) -> Path | None:
    """The file of a repo that was downloaded before; without a name, the usual one, or the only one that is there."""
    snapshots = cache / f"models--{repo.replace('/', '--')}" / "snapshots"
    found = sorted(snapshots.glob(f"*/{name}" if name else f"*/*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
    usual = [path for path in found if path.name == USUAL_NAME]
    if name is None and not usual and len({path.name for path in found}) > 1:
        return None  # which one is meant, the hub has to be asked
    return (usual or found)[-1] if found else None


def all_files(folder: Path) -> Iterator[Path]:
    """Every LoRA file, sorted by name."""
    if folder.is_dir():
        yield from sorted(path.resolve() for path in folder.rglob(f"*{SUFFIX}") if path.is_file())


def inspect(file: Path, lora_id: str) -> LoraFile:
    """What `file` is. Raises LoraUnavailable, saying what is wrong with it."""
    try:
        header = read_header(file)
        size = file.stat().st_size
    except DamagedFile as problem:
        raise LoraUnavailable(f"The LoRA {lora_id} cannot be used: {problem}.") from None
    except OSError:
        raise LoraUnavailable(f"The LoRA {lora_id} cannot be read.") from None
    if kind := other_kind(header.shapes):
        raise LoraUnavailable(f"{lora_id} is {kind}, which cannot be used here. Use a plain LoRA.")
    if not is_lora(header.shapes):
        raise LoraUnavailable(f"{lora_id} is no LoRA: none of its {len(header.tensors)} tensors belongs to one.")
    base = header.metadata.get("ss_base_model_version") or header.metadata.get("modelspec.architecture")
    family, rank = family_of(header.shapes), rank_of(header.shapes)
    return LoraFile(lora_id, family, size, rank, str(base)[:100] if base else None)

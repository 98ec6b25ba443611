"""Inspects .safetensors files without loading them: completeness, size in memory, fingerprint.

Independent of torch and diffusers.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ModelUnavailable
from app.files.weights import DamagedFile, read_header

_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_RESIZED = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # what a load in another precision converts
_SAMPLES, _SAMPLE_BYTES = 16, 65_536


@dataclass(frozen=True)
class TensorCount:
    """Numbers in a set of files: `resized` are converted to the requested dtype, `kept_bytes` keep their size."""

    resized: int
    kept_bytes: int

    def bytes_at(self, item_bytes: float) -> int:
        """Size in memory when each number takes `item_bytes`."""
        return int(self.resized * item_bytes) + self.kept_bytes


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: its numbers, dimensions, and its dtype as the format names it."""

    count: TensorCount
    dimensions: int
    dtype: str


def count_tensors(files: Iterable[Path]) -> TensorCount:
    """Count the numbers in `files`. Raises ModelUnavailable naming the first file that is damaged."""
    counts = [_count(tensor) for file in files for tensor in _read_header(file).values()]
    return TensorCount(sum(count.resized for count in counts), sum(count.kept_bytes for count in counts))


def count_named(file: Path, names: Collection[str]) -> TensorCount:
    """Count the numbers in the tensors `names` of `file`. Raises ModelUnavailable when it is damaged."""
    counts = [_count(tensor) for name, tensor in _read_header(file).items() if name in names]
    return TensorCount(sum(count.resized for count in counts), sum(count.kept_bytes for count in counts))


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of `file` by name. Raises ModelUnavailable when it is damaged."""
    return {
        name: Tensor(_count(tensor), len(tensor["shape"]), tensor["dtype"])
        for name, tensor in _read_header(file).items()
    }


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """The shape of every tensor of `file` by name. Raises ModelUnavailable when it is damaged."""
    return {name: list(tensor["shape"]) for name, tensor in _read_header(file).items()}


@contextmanager
def with_lowercase_suffix(file: Path) -> Iterator[Path]:
    """A path to `file` with a lowercase suffix: diffusers takes `MODEL.SAFETENSORS` for a pickle."""
    if file.suffix == file.suffix.lower():
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"{file.stem}{file.suffix.lower()}"
        link.symlink_to(file.absolute())
        yield link


def _count(tensor: Mapping[str, Any]) -> TensorCount:
    numbers = math.prod(tensor["shape"])
    if tensor["dtype"] in _RESIZED:
        return TensorCount(numbers, 0)
    return TensorCount(0, numbers * _ITEM_BYTES.get(tensor["dtype"], 1))


def _read_header(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The tensors of a file by name. Raises ModelUnavailable unless the data is complete."""
    try:
        return read_header(file).tensors
    except DamagedFile as problem:
        raise _damaged(file, str(problem)) from None


def _damaged(file: Path, how: str) -> ModelUnavailable:
    return ModelUnavailable(f"The weights file {file} is damaged: {how}. Delete it and download it again.")


def fingerprint(folder: Path, files: Iterable[Path]) -> str:
    """Fingerprint of weights that is cheap even for 30 GB: `sampled-sha256:` and 16 hex digits.

    Hashes each file's name, size, and 16 evenly spaced samples of 64 KiB (all of a file up to 1 MiB), so that it is the
    same on every machine and changes with any training, but does not resist deliberate manipulation.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}\0{size}\0".encode())
        whole = size <= _SAMPLES * _SAMPLE_BYTES
        with file.open("rb") as stream:
            for sample in range(1 if whole else _SAMPLES):
                stream.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1) if sample else 0)
                digest.update(stream.read() if whole else stream.read(_SAMPLE_BYTES))
    return f"sampled-sha256:{digest.hexdigest()[:16]}"

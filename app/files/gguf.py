"""Validates the header of a .gguf file before a library reads it: the sizes in it must fit the file."""

from __future__ import annotations

import struct
from pathlib import Path

from app.files.safetensors import MOST_TENSORS, DamagedFile

_HEAD = struct.Struct("<4sIQQ")  # magic, version, number of tensors, number of metadata pairs
_VERSIONS = (2, 3)
_LEAST_TENSOR, _LEAST_PAIR = 24, 13  # minimum bytes of each description


def check_gguf(file: Path) -> None:
    """Raises DamagedFile, or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(b"GGUF"):
        raise DamagedFile("it is not a GGUF file")
    _, version, tensors, pairs = _HEAD.unpack(head)
    if version not in _VERSIONS:
        raise DamagedFile(f"it is GGUF version {version}; versions 2 and 3 are supported")
    if max(tensors, pairs) > MOST_TENSORS or tensors * _LEAST_TENSOR + pairs * _LEAST_PAIR > size:
        raise DamagedFile(f"its header has {tensors:,} tensors and {pairs:,} metadata pairs, which do not fit the file")

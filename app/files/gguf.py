"""Look at the head of a .gguf file before a library reads it: what it promises must fit into the file."""

from __future__ import annotations

import struct
from pathlib import Path

from app.files.safetensors import MOST_TENSORS, DamagedFile

_HEAD = struct.Struct("<4sIQQ")  # magic, version, how many tensors, how many pairs of metadata
_VERSIONS = (2, 3)
_LEAST_TENSOR, _LEAST_PAIR = 24, 13  # bytes that the description of each takes


def check_gguf(file: Path) -> None:
    """Raises DamagedFile, or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(b"GGUF"):
        raise DamagedFile("it is not a GGUF file")
    _, version, tensors, pairs = _HEAD.unpack(head)
    if version not in _VERSIONS:
        raise DamagedFile(f"it is GGUF of version {version}; versions 2 and 3 are read")
    if max(tensors, pairs) > MOST_TENSORS or tensors * _LEAST_TENSOR + pairs * _LEAST_PAIR > size:
        raise DamagedFile(f"its header promises {tensors:,} tensors and {pairs:,} facts, which cannot be")

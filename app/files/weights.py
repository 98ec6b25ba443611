"""Reads headers of .safetensors files without loading them, and checks that they are complete; checks the sizes in the
header of a .gguf file before a library reads it. Independent of torch.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

MOST_TENSORS = 100_000  # the largest models have some thousands
_HEADER_LIMIT = 16_000_000  # bytes; the largest models have 1 MB, and Python needs thirty times as much memory
_MOST_DIMENSIONS = 64
_LARGEST = 2**63
_UNREADABLE = "its header cannot be read"
_ITEM_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "BOOL": 8,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
}
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch's zip of a pickle, and a bare one


class DamagedFile(Exception):
    """The message completes a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Header:
    """`tensors` by name: dtype, shape and data_offsets. `metadata` from the file."""

    tensors: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, list[int]]:
        return {name: list(tensor["shape"]) for name, tensor in self.tensors.items()}


def variant_of(name: str) -> str | None:
    """`fp16` of `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`, None of a plain file."""
    middle = name.removesuffix(".safetensors").split(".")[1:]
    return middle[0].split("-")[0] if middle else None


def read_header(file: Path) -> Header:
    """The header of a complete file. Raises DamagedFile, or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            pickled = "; it is a pickle, which can run code and is never loaded" if start.startswith(_PICKLES) else ""
            raise DamagedFile(f"it is not a safetensors file{pickled}")
        if length > _HEADER_LIMIT:
            raise DamagedFile(f"its header has {length:,} bytes; at most {_HEADER_LIMIT:,} are supported")
        header = _parsed(stream.read(length))
    tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    if len(tensors) > MOST_TENSORS:
        raise DamagedFile(f"it has {len(tensors):,} tensors; at most {MOST_TENSORS:,} are supported")
    if (wrong := next((name for name, tensor in tensors.items() if not _is_tensor(tensor)), None)) is not None:
        raise DamagedFile(f"its header has an invalid entry for {wrong[:100]}")
    end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    if 8 + length + end != size:
        raise DamagedFile(f"it has {size:,} bytes and should have {8 + length + end:,}")
    metadata = header.get("__metadata__")
    return Header(tensors, metadata if isinstance(metadata, dict) else {})


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedFile(_UNREADABLE) from None
    if not isinstance(header, dict):
        raise DamagedFile(_UNREADABLE)
    return header


def _is_tensor(tensor: Any) -> bool:
    """Whether shape and offsets of a tensor are valid and match. For unknown dtypes the match is not
    checked."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("dtype"), str):
        return False
    shape, offsets = tensor.get("shape"), tensor.get("data_offsets")
    if not (_are_sizes(shape) and _are_sizes(offsets)) or len(shape) > _MOST_DIMENSIONS or len(offsets) != 2:
        return False
    bits, bytes_held = _ITEM_BITS.get(tensor["dtype"]), offsets[1] - offsets[0]
    return bytes_held >= 0 if bits is None else bytes_held * 8 == math.prod(shape) * bits


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < _LARGEST for value in values)


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

"""Look at .safetensors files without loading them: what tensors they hold, and whether they are whole.

It knows the layout of the file and nothing of torch.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADER_LIMIT = 32_000_000  # bytes: the largest of real files have a few; each takes ten times as much when parsed
_MOST_SIDES = 16
_ITEM_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
}
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch's zip of a pickle, and a bare one


class DamagedFile(Exception):
    """Says what is wrong, as the end of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Header:
    """`tensors` by name: dtype, shape and data_offsets. `metadata` is what the file's maker wrote down."""

    tensors: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, list[int]]:
        return {name: list(tensor["shape"]) for name, tensor in self.tensors.items()}


def read_header(file: Path) -> Header:
    """The header of a file whose data is there to its last byte. Raises DamagedFile, or OSError."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            pickled = "; it is a pickle, which can run code and is never loaded" if start.startswith(_PICKLES) else ""
            raise DamagedFile(f"it does not begin like a safetensors file{pickled}")
        if length > _HEADER_LIMIT:
            raise DamagedFile(f"its header has {length:,} bytes; at most {_HEADER_LIMIT:,} are read")
        try:
            header = json.loads(stream.read(length))
            tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
            wrong = next((name for name, tensor in tensors.items() if not _is_sound(tensor)), None)
            end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
            raise DamagedFile("its header cannot be read") from None
    if wrong is not None:
        raise DamagedFile(f"its header says of {wrong[:100]} what cannot be")
    if 8 + length + end != size:
        raise DamagedFile(f"it has {size:,} bytes and should have {8 + length + end:,}")
    metadata = header.get("__metadata__")
    return Header(tensors, metadata if isinstance(metadata, dict) else {})


def _is_sound(tensor: Mapping[str, Any]) -> bool:
    """Whether shape and place of a tensor can be, and agree. Of kinds of numbers that are not known here, the latter is
    not asked."""
    shape, (begin, end) = tensor["shape"], tensor["data_offsets"]
    if not isinstance(shape, list) or len(shape) > _MOST_SIDES or not isinstance(tensor["dtype"], str):
        return False
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        return False
    bits = _ITEM_BITS.get(tensor["dtype"])
    return bool(begin <= end if bits is None else (end - begin) * 8 == math.prod(shape) * bits)

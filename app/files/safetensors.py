"""Look at .safetensors files without loading them: what tensors they hold, and whether they are whole.

It knows the layout of the file and nothing of torch.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADER_LIMIT = 100_000_000  # bytes, as the safetensors library has it
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
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT + 1
        if length > min(_HEADER_LIMIT, size - 8):
            pickled = "; it is a pickle, which can run code and is never loaded" if start.startswith(_PICKLES) else ""
            raise DamagedFile(f"it does not begin like a safetensors file{pickled}")
        try:
            header = json.loads(stream.read(length))
            tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
            end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
            shapes_are_lists = all(isinstance(tensor["shape"], list) for tensor in tensors.values())
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            raise DamagedFile("its header cannot be read") from None
    if not shapes_are_lists:
        raise DamagedFile("its header cannot be read")
    if 8 + length + end != size:
        raise DamagedFile(f"it has {size:,} bytes and should have {8 + length + end:,}")
    metadata = header.get("__metadata__")
    return Header(tensors, metadata if isinstance(metadata, dict) else {})

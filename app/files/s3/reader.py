"""A file of an S3 service that can be sought in: it is fetched piece by piece, so that no connection is held while a
client reads slowly, and memory holds one piece."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

PIECE_BYTES = 1 << 20

Fetch = Callable[[int, int], bytes]  # the bytes from the first to the last position, both included


def open_reader(fetch: Fetch, size: int) -> BinaryIO:
    """A file of `size` bytes, whose pieces `fetch` brings."""
    return cast(BinaryIO, io.BufferedReader(_Pieces(fetch, size)))


class _Pieces(io.RawIOBase):
    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._piece, self._piece_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        if self._position >= self._size:
            return 0
        if not self._piece_at <= self._position < self._piece_at + len(self._piece):
            self._piece = self._fetch(self._position, min(self._position + PIECE_BYTES, self._size) - 1)
            self._piece_at = self._position
        start = self._position - self._piece_at
        with memoryview(buffer).cast("B") as wanted:
            part = self._piece[start : start + len(wanted)]
            wanted[: len(part)] = part
        self._position += len(part)
        return len(part)

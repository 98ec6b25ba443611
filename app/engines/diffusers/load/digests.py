"""The SHA-256 of files, read once: a file that has kept its size and time is not read again, also by the next process.

What is known is kept in one JSON file. Two workers that write it at once may forget a line of each other, no more.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from app.engines.diffusers.load.log import log

_MOST = 2000  # files that are remembered; the oldest go first


@dataclass(frozen=True)
class Stamp:
    """A file as it was at some moment. Equal stamps: it is still the same."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        """Links are followed: what the hub's cache shows under several names is one file. Raises OSError."""
        real = file.resolve()
        status = real.stat()
        return cls(str(real), status.st_size, status.st_mtime_ns)

    def holds(self) -> bool:
        """Whether the file is still there as it was."""
        try:
            return Stamp.of(Path(self.path)) == self
        except OSError:
            return False


class Digests:
    """Knows the SHA-256 of files by their stamps. `book` is where that is written down."""

    def __init__(self, book: Path) -> None:
        self._book = book
        self._known: dict[str, str] | None = None

    def of(self, stamp: Stamp) -> str:
        """The SHA-256 in hexadecimal. Raises OSError when the file cannot be read."""
        known = self._read_book()
        key = f"{stamp.path}|{stamp.size}|{stamp.mtime_ns}"
        if key not in known:
            with open(stamp.path, "rb") as stream:
                known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            self._write_book(known)
        return known[key]

    def _read_book(self) -> dict[str, str]:
        if self._known is None:
            try:
                read = json.loads(self._book.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                read = {}
            whole = isinstance(read, dict) and all(isinstance(digest, str) for digest in read.values())
            self._known = read if whole else {}
        return self._known

    def _write_book(self, known: dict[str, str]) -> None:
        while len(known) > _MOST:
            del known[next(iter(known))]
        fresh = self._book.with_name(f"{self._book.name}.{os.getpid()}")
        try:
            fresh.write_text(json.dumps(known, indent=0), encoding="utf-8")
            fresh.replace(self._book)
        except OSError as error:  # a folder that is read only: it is read again the next time
            log.debug("cannot write %s: %s", self._book, error)

"""Persistent cache of files' SHA-256: a file with the same size and modification time is not read again.

Stored in one JSON file. Two workers that write it at the same time may lose an entry, which is then computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from app.engines.diffusers.load.errors import log

_MOST = 2000  # entries; the oldest are removed first


@dataclass(frozen=True)
class Stamp:
    """Path, size and modification time of a file. Equal stamps mean an unchanged file."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        """The stamp of `file`. Links are followed: the hub's cache links one file under several names. Raises
        OSError."""
        real = file.resolve()
        status = real.stat()
        return cls(str(real), status.st_size, status.st_mtime_ns)

    def holds(self) -> bool:
        """Whether the file still exists unchanged."""
        try:
            return Stamp.of(Path(self.path)) == self
        except OSError:
            return False


class Digests:
    """SHA-256 digests by stamp, persisted in the JSON file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] | None = None

    def of(self, stamp: Stamp) -> str:
        """The SHA-256 in hexadecimal. Raises OSError when the file cannot be read."""
        known = self._read()
        key = f"{stamp.path}|{stamp.size}|{stamp.mtime_ns}"
        if key not in known:
            with open(stamp.path, "rb") as stream:
                known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            self._write(known)
        return known[key]

    def _read(self) -> dict[str, str]:
        if self._known is None:
            try:
                read = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                read = {}
            whole = isinstance(read, dict) and all(isinstance(digest, str) for digest in read.values())
            self._known = read if whole else {}
        return self._known

    def _write(self, known: dict[str, str]) -> None:
        while len(known) > _MOST:
            del known[next(iter(known))]
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            fresh.write_text(json.dumps(known, indent=0), encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:  # a read-only folder: the digest is computed again by the next process
            log.debug("cannot write %s: %s", self._path, error)

"""The folder that `cyberimage batch run` fills: its state, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cyberimage.protocol import image_id

STATE = ".cyberimage-batch.json"
TABLE = "manifest.json"
_SUFFIXES = {
    "image/png": ".png",
    "image/webp": ".webp",
    "image/jpeg": ".jpg",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}


class ChangedFile(Exception):
    """The folder belongs to another file or server."""


class Damaged(Exception):
    """A picture does not have the checksum that the server told."""


@dataclass(frozen=True)
class State:
    """`key` is the Idempotency-Key of the submission, stored before it is sent; `file` the digest of what is sent."""

    server: str
    file: str
    key: str
    batch_id: str | None = None


class BatchFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: State | None = None
        self._here: dict[int, set[str]] = {}  # image ids by place

    @property
    def batch_id(self) -> str:
        assert self._state is not None, "the folder is open"
        assert self._state.batch_id is not None, "the batch is submitted"
        return self._state.batch_id

    @property
    def files(self) -> int:
        return sum(map(len, self._here.values()))

    @property
    def jobs(self) -> int:
        """Of how many jobs there are files here."""
        return len(self._here)

    def open(self, content: bytes, server: str) -> State:
        """The state of the folder, begun for this file if it is new. Raises ChangedFile, OSError."""
        digest = hashlib.sha256(content).hexdigest()
        self.path.mkdir(parents=True, exist_ok=True)
        known = self._read()
        if known is None:
            known = State(server, digest, uuid.uuid4().hex)
            self._write(known)
        elif known.file != digest:
            raise ChangedFile(f"{self.path} belongs to a file that was different. Choose another folder.")
        elif known.server != server:
            raise ChangedFile(f"{self.path} belongs to a batch at {known.server}. Choose another folder.")
        self._state = known
        return known

    def submitted(self, batch_id: str) -> None:
        assert self._state is not None, "the folder is open"
        self._state = replace(self._state, batch_id=batch_id)
        self._write(self._state)

    def has(self, place: int, image: Mapping[str, Any]) -> bool:
        """Whether the picture is here, with the right checksum."""
        if image["image_id"] in self._here.get(place, ()):
            return True
        try:
            with self._file(place, image).open("rb") as file:
                there = bool(hashlib.file_digest(file, "sha256").hexdigest() == image["sha256"])
        except FileNotFoundError:
            return False
        if there:
            self._note(place, image)
        return there

    def save(self, place: int, image: Mapping[str, Any], content: bytes) -> None:
        """Raises Damaged, OSError."""
        if hashlib.sha256(content).hexdigest() != image["sha256"]:
            raise Damaged(f"Picture {image['image_id']} arrived damaged")
        _write_whole(self._file(place, image), content)
        self._note(place, image)

    def write_table(self, table: Mapping[str, Any]) -> None:
        _write_whole(self.path / TABLE, json.dumps(table, ensure_ascii=False, indent=1).encode())

    def _note(self, place: int, image: Mapping[str, Any]) -> None:
        self._here.setdefault(place, set()).add(image["image_id"])

    def _file(self, place: int, image: Mapping[str, Any]) -> Path:
        suffix = _SUFFIXES.get(image["mime_type"], ".bin")
        return self.path / f"{int(place):06}-{image_id(image['image_id'])[-8:]}{suffix}"

    def _read(self) -> State | None:
        try:
            found = json.loads((self.path / STATE).read_text())
            return State(**{name: found[name] for name in ("server", "file", "key", "batch_id")})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise ChangedFile(f"{self.path / STATE} cannot be read. Choose another folder.") from None

    def _write(self, state: State) -> None:
        _write_whole(self.path / STATE, json.dumps(asdict(state), indent=1).encode())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

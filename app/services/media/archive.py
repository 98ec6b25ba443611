"""Pictures as a ZIP archive, made while it is sent: nothing is stored, and memory holds one piece of one file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import IO, cast

from app.core.output import Output
from app.services.context import AppContext

PIECE = 1 << 18  # bytes
MISSING = "missing.txt"
_ROWS = 200  # read at a time
NONE: Mapping[str, Callable[[], Iterator[bytes]]] = {}


def file_name(output: Output) -> str:
    """The name under which the file is saved: by its time, and unique."""
    made = datetime.fromtimestamp(output.created_at, UTC)
    return f"cyberimage-{made:%Y%m%d-%H%M%S}-{output.id[-8:]}{PurePosixPath(output.path).suffix}"


def archive(context: AppContext, ids: Sequence[str]) -> Iterator[bytes]:
    """The archive of these pictures, piece by piece. What is removed meanwhile is named in a file of its own."""
    return archive_of(context, ((file_name(output), output) for output in _outputs(context, ids)))


def archive_of(
    context: AppContext, named: Iterable[tuple[str, Output]], texts: Mapping[str, Callable[[], Iterator[bytes]]] = NONE
) -> Iterator[bytes]:
    """The archive of pictures under these names, piece by piece, and then of `texts`, by their names. Pictures are not
    compressed: they are already."""
    sink, missing = _Sink(), list[str]()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_STORED) as zipped:
        for name, output in named:
            try:
                file = context.images.open(output.path).content
            except FileNotFoundError:
                missing.append(output.id)
                continue
            with file, zipped.open(_entry(name, output), "w") as member:
                while piece := file.read(PIECE):
                    member.write(piece)
                    yield sink.take()
        for name, text in texts.items():
            with zipped.open(_text_entry(name), "w") as member:
                for piece in text():
                    member.write(piece)
                    yield sink.take()
        if missing:
            zipped.writestr(MISSING, "".join(f"{each}\n" for each in missing))
    yield sink.take()


def _outputs(context: AppContext, ids: Sequence[str]) -> Iterator[Output]:
    for start in range(0, len(ids), _ROWS):
        yield from context.outputs.many(ids[start : start + _ROWS])


def _text_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _entry(name: str, output: Output) -> zipfile.ZipInfo:
    made = datetime.fromtimestamp(output.created_at, UTC)
    entry = zipfile.ZipInfo(name, (max(made.year, 1980), *made.timetuple()[1:6]))  # ZIP begins in 1980
    entry.file_size = output.bytes  # decides whether the entry needs ZIP64
    return entry


class _Sink:
    """A file that can only be written, whose content is taken away."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken

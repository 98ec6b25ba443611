"""Wildcard files in WILDCARDS_DIR: one choice a line. A name never leads out of the folder, not by a link either."""

from __future__ import annotations

from pathlib import Path

from app.errors import FieldError, InvalidRequest

LARGEST_BYTES = 1_000_000
MOST_LINES = 20_000


def read(folder: Path, name: str) -> list[str] | None:
    """The lines of the file of a wildcard, without empty ones and comments; None if there is no such file. Raises
    InvalidRequest for one that cannot be used."""
    try:
        root = folder.resolve(strict=True)
        path = (root / f"{name}.txt").resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError):  # not there, not readable, a circle of links
        return None
    if len(data) > LARGEST_BYTES:
        raise _unusable(name, f"has more than {LARGEST_BYTES:,} bytes")
    lines = [line.strip() for line in _text(name, data).splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) > MOST_LINES:
        raise _unusable(name, f"has more than {MOST_LINES:,} lines")
    return found


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable(name, "is not UTF-8") from None


def _unusable(name: str, problem: str) -> InvalidRequest:
    message = f"names the wildcard __{name}__, whose file {problem}"
    return InvalidRequest(f"The prompt {message}.", errors=[FieldError("prompt", message)])

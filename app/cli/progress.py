"""Progress of one generation on a terminal: one line that is written over, and previews where the terminal can."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from app.cli.terminal_images import back_to_top, inline_image, protocol_of

_BAR = 24  # characters


class ProgressDisplay:
    """Writes to `stream` only if it is a terminal. Use as a context manager: it ends its line."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._protocol = protocol_of(environment) if self._is_terminal else None
        self._line = ""
        self._has_image = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._clear()

    def update(self, status: dict[str, Any]) -> None:
        """Show a status body, or the part of one that an event carries."""
        self.line(line_of(status))

    def line(self, text: str) -> None:
        """Write the line over."""
        if self._is_terminal and text != self._line:
            self._clear()
            self._stream.write(text)
            self._stream.flush()
            self._line = text

    def preview(self, image: bytes) -> None:
        if self._protocol is None:
            return
        line = self._line
        self._clear()
        self._stream.write((back_to_top() if self._has_image else "") + inline_image(image, self._protocol) + line)
        self._stream.flush()
        self._line, self._has_image = line, True

    def _clear(self) -> None:
        if self._line:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
        self._line = ""


def line_of(status: dict[str, Any]) -> str:
    """`[########----------------] 5/16 generating, 3 s left`, or where the job waits."""
    left = status.get("eta_seconds")
    eta = f", {left:.0f} s left" if left else ""
    progress = status.get("progress") or status
    total = progress.get("total_steps") or 0
    if status.get("status") == "PENDING" and status.get("waits_for"):
        return f"waiting for {status['waits_for']}"
    if status.get("status") == "PENDING":
        return f"waiting, number {status.get('position') or '?'} in the queue{eta}"
    if not total:
        return f"{(progress.get('phase') or 'starting').replace('_', ' ')}{eta}"
    done = _BAR * progress["step"] // total
    return f"[{'#' * done}{'-' * (_BAR - done)}] {progress['step']}/{total} {progress['phase'].replace('_', ' ')}{eta}"

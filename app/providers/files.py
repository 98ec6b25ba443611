"""Types for files sent to and fetched from providers, for engines; services implement them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Upload:
    name: str
    content: bytes
    media_type: str


class FetchFailed(Exception):
    """A file could not be fetched; `final` if it must not be fetched at all, `gone` if its host says it has none."""

    def __init__(self, text: str, *, final: bool = False, gone: bool = False) -> None:
        self.text = text
        self.final = final
        self.gone = gone
        super().__init__(text)


# Fetches a URL until the second argument returns true; raises FetchFailed or Cancelled.
Fetch = Callable[[str, Callable[[], bool]], bytes]
OpenPicture = Callable[[str], Upload]  # a gallery picture by its id; raises ImageNotFound or Gone

"""Files that go to providers and come from them, as engines see them; services fetch and read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Upload:
    name: str
    content: bytes
    media_type: str


class FetchFailed(Exception):
    """A file could not be fetched; `final` when trying again is no use: it is gone, or may not be fetched at all."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        self.text = text
        self.final = final
        super().__init__(text)


# The file at a URL, unless the second argument says to stop; raises FetchFailed or Cancelled.
Fetch = Callable[[str, Callable[[], bool]], bytes]
OpenPicture = Callable[[str], Upload]  # a picture of the gallery by its id; raises ImageNotFound or Gone

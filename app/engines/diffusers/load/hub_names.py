"""Refuse checksums of a hub that are none: huggingface_hub makes file names of them, whatever they hold.

A hub, or whoever answers in its place, could otherwise have files written anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import file_download

from app.errors import ModelDownloadFailed

_PLAIN = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,199}")


@contextmanager
def plain_names_only() -> Iterator[None]:
    """While this lasts, an ETag that could name a file elsewhere raises ModelDownloadFailed."""
    plain = file_download._normalize_etag

    def checked(etag: str | None) -> str | None:
        name: str | None = plain(etag)
        if name is not None and not _PLAIN.fullmatch(name):
            raise ModelDownloadFailed(f"The hub sent a checksum that is none: {name[:100]!r}. Check HF_ENDPOINT.")
        return name

    file_download._normalize_etag = checked
    try:
        yield
    finally:
        file_download._normalize_etag = plain

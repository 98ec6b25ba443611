"""Validates the ETags of a hub: huggingface_hub uses them as file names without checking.

A malicious hub, or a server in its place, could otherwise write files anywhere.
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
    """Within the block, an ETag that could name a file elsewhere raises ModelDownloadFailed."""
    plain = file_download._normalize_etag

    def checked(etag: str | None) -> str | None:
        name: str | None = plain(etag)
        if name is not None and not _PLAIN.fullmatch(name):
            raise ModelDownloadFailed(f"The hub sent an invalid checksum: {name[:100]!r}. Check HF_ENDPOINT.")
        return name

    file_download._normalize_etag = checked
    try:
        yield
    finally:
        file_download._normalize_etag = plain

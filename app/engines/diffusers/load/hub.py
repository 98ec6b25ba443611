"""Guards around huggingface_hub, which trusts its hub: a malicious one, or a server in its place, could fill memory and
disk with an endless listing or small file, and write anywhere by an ETag that is used as a file name.

Weights are downloaded by downloads.py, which knows the size of each file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2  # of huggingface_hub, which hands its client out
from huggingface_hub import file_download
from huggingface_hub.utils import set_client_factory
from huggingface_hub.utils._http import default_client_factory

from app.errors import ModelDownloadFailed

MOST_BYTES = 64_000_000  # of a response without a length, or of a listing; the longest have a few millions


def bound_hub_answers() -> None:
    """Make huggingface_hub use clients with a response limit."""
    set_client_factory(_bounded_client)


def _bounded_client() -> httpx2.Client:
    client: httpx2.Client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks.get("response", []), _bound]}
    return client


def _bound(response: httpx2.Response) -> None:
    """Response hook, called after the headers and before the body."""
    says_its_length = "content-length" in response.headers
    if "/api/" in response.request.url.path or not says_its_length:
        response.stream = _BoundedStream(response)


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._stream = response.stream
        self._request = response.request

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        assert isinstance(self._stream, httpx2.SyncByteStream)
        for piece in self._stream:
            seen += len(piece)
            if seen > MOST_BYTES:
                path = self._request.url.path
                raise httpx2.ReadError(f"the hub's answer to {path} does not end", request=self._request)
            yield piece

    def close(self) -> None:
        if isinstance(self._stream, httpx2.SyncByteStream):
            self._stream.close()


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

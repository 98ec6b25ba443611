"""File transfer with providers: downloads of outputs behind the SSRF guard, uploads of gallery pictures.

Outputs are fetched from public https hosts, or from the provider's origin. No token is sent with it.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath

import httpx

from app.errors import Cancelled
from app.providers.files import FetchFailed, Upload
from app.providers.ssrf_guard import AddressRefused, guarded_client, url_problem
from app.services.context import AppContext
from app.services.media import gallery

FETCH_SECONDS = 600.0  # of a transfer that never stalls
REDIRECTS = 3
_GONE = (401, 403, 404, 410)  # how hosts answer for files that they have deleted


class OutputFetcher:
    """Downloads outputs. Files of the provider's `origin` may also come by http and from a private address. A transfer
    without a byte for `stall_seconds` is given up."""

    def __init__(self, *, origin: str, max_bytes: int, stall_seconds: float) -> None:
        self._origin = _origin_of(httpx.URL(origin)) if origin else None
        self._max_bytes = max_bytes
        client = partial(guarded_client, total_seconds=FETCH_SECONDS, idle_seconds=stall_seconds)
        self._public = client(allow_private=False)
        self._own = client(allow_private=True)

    def __call__(self, url: str, cancelled: Callable[[], bool]) -> bytes:
        """The file's content. Raises FetchFailed or Cancelled."""
        for _ in range(REDIRECTS + 1):
            client = self._client_for(url)
            try:
                with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                    if not response.is_redirect:
                        return self._read(response, cancelled)
                    url = str(response.url.join(response.headers.get("Location", "")))
            except AddressRefused as refused:
                raise FetchFailed(str(refused), final=True) from None
            except httpx.ReadTimeout:
                raise FetchFailed("the transfer stalled (REMOTE_STALL_SECONDS)") from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchFailed(f"the connection broke ({type(error).__name__})") from None
        raise FetchFailed("it was redirected too often", final=True)

    def _client_for(self, url: str) -> httpx.Client:
        problem = url_problem(url, allow_private=True)
        if problem is not None:
            raise FetchFailed(f"its address {problem}", final=True)
        if _origin_of(httpx.URL(url)) == self._origin:
            return self._own
        if not url.startswith("https://"):
            raise FetchFailed("its address is neither https nor the provider's origin", final=True)
        return self._public

    def _read(self, response: httpx.Response, cancelled: Callable[[], bool]) -> bytes:
        status = response.status_code
        if status != httpx.codes.OK:
            raise FetchFailed(f"its host answered {status}", gone=status in _GONE)
        found = bytearray()
        for chunk in response.iter_raw():
            if cancelled():
                raise Cancelled
            found += chunk
            if len(found) > self._max_bytes:
                raise FetchFailed(f"it has more than {self._max_bytes} bytes (REMOTE_OUTPUT_MAX_BYTES)", final=True)
        return bytes(found)


def _origin_of(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def open_picture(context: AppContext, image_id: str) -> Upload:
    """A gallery picture as an upload for a provider. Raises ImageNotFound or Gone."""
    output = context.outputs.get(image_id)
    content = gallery.read_file(context, output)
    suffix = mimetypes.guess_extension(output.mime_type) or PurePosixPath(output.path).suffix
    return Upload(f"{output.id}{suffix}", content, output.mime_type)

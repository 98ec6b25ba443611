"""A published picture in another format, as façades are asked for; the stored file stays as it is."""

from __future__ import annotations

import hashlib

from app.core.lru_cache import LRUCache
from app.core.output import Output
from app.core.picture_formats import PictureFormat
from app.services.context import AppContext
from app.services.media import gallery

_LARGEST_KEPT = 2_000_000  # bytes
_small: LRUCache[tuple[str, int], bytes] = LRUCache(32)  # by checksum and most bytes
_newest: LRUCache[tuple[bytes, PictureFormat, int], bytes] = LRUCache(16)


def picture_bytes(context: AppContext, output: Output, format: PictureFormat, quality: int) -> bytes:
    """The file of `output` in `format`; `quality` is 1 to 100, of lossy formats. Raises ImageNotFound."""
    content = gallery.read_file(context, output)
    return content if output.mime_type == f"image/{format}" else reencoded(content, format, quality)


def reencoded(content: bytes, format: PictureFormat, quality: int) -> bytes:
    """A picture of ours in `format`. The newest small ones are kept: many clients may follow one job."""
    from app.files.images import reencode  # Pillow uses much memory: imported only where it is needed

    key = hashlib.sha256(content).digest(), format, quality
    made = _newest.get(key)
    if made is None:
        made = reencode(content, format, quality)
        if len(made) <= _LARGEST_KEPT:
            _newest.put(key, made)
    return made


def small_webp(context: AppContext, output: Output, most_bytes: int) -> bytes:
    """The picture as a WebP of at most so many bytes, reduced if it must be; of a video its poster. Raises
    ImageNotFound."""
    from app.files.images import webp_within

    key = output.sha256, most_bytes
    made = _small.get(key)
    if made is None:
        made = webp_within(gallery.read_file(context, output, thumbnail=output.media != "image"), most_bytes)
        _small.put(key, made)
    return made

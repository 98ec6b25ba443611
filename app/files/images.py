"""Encodes pixels: PNG with metadata, and WebP thumbnails; and a finished picture in another format."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.core.picture_formats import PictureFormat
from app.files.metadata import XMP_KEY

PNG_COMPRESSION = 1  # of 9: a fifth of the default's time for about a tenth more bytes
THUMBNAIL_PIXELS = 384  # longest side
THUMBNAIL_QUALITY = 80


def encode_png(pixels: npt.NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """A PNG of `pixels` (uint8, height × width × 3, or 4 with alpha) with `text` chunks (tEXt for Latin-1, otherwise
    iTXt)."""
    info = PngInfo()
    for key, value in text.items():
        if key == XMP_KEY:  # readers expect it in an iTXt chunk
            info.add_itxt(key, value)
        else:
            info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info, compress_level=PNG_COMPRESSION)
    return buffer.getvalue()


def encode_thumbnail(pixels: npt.NDArray[np.uint8], xmp: str = "") -> bytes:
    """A WebP of `pixels`, at most THUMBNAIL_PIXELS on its longest side, never enlarged, with `xmp` metadata."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=THUMBNAIL_QUALITY, method=2, xmp=xmp.encode())
    return buffer.getvalue()


def reencode(content: bytes, format: PictureFormat, quality: int) -> bytes:
    """A picture of ours as PNG, WebP or JPEG, with its XMP metadata; `quality` is 1 to 100, of the lossy ones."""
    with Image.open(io.BytesIO(content)) as picture:
        options: dict[str, object] = {"xmp": picture.info["xmp"]} if picture.info.get("xmp") else {}
        buffer = io.BytesIO()
        if format == "png":
            picture.convert("RGB").save(buffer, "PNG", compress_level=PNG_COMPRESSION)
        else:
            plain = picture.convert("RGB")
            if format == "webp":
                plain.thumbnail((_LARGEST_WEBP_SIDE, _LARGEST_WEBP_SIDE), Image.Resampling.LANCZOS)
            plain.save(buffer, format.upper(), quality=quality, **options)
        return buffer.getvalue()


_LARGEST_SIDE = 1536  # of a small picture
_LARGEST_WEBP_SIDE = 16_383  # by the format


def webp_within(content: bytes, most_bytes: int) -> bytes:
    """A picture of ours as a WebP of at most `most_bytes`, with its XMP metadata: of 1536 pixels on a side at most, and
    of less quality, then of less size, until it fits. Raises ValueError if none does."""
    with Image.open(io.BytesIO(content)) as picture:
        xmp = picture.info.get("xmp") or b""
        small = picture.convert("RGB")
    small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    for quality in (90, 80, 65):
        if len(made := _webp(small, quality, xmp)) <= most_bytes:
            return made
    while max(small.size) > 1:
        small = small.resize((max(small.width * 2 // 3, 1), max(small.height * 2 // 3, 1)), Image.Resampling.LANCZOS)
        if len(made := _webp(small, 65, xmp)) <= most_bytes:
            return made
    raise ValueError(f"no picture has as few as {most_bytes} bytes")


def _webp(picture: Image.Image, quality: int, xmp: bytes | str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2, xmp=xmp)
    return buffer.getvalue()

"""Pictures that come in: what they are is read from their content, and they leave as plain PNGs of the size asked for.

The rules: PNG, JPEG, WebP, GIF, BMP, AVIF, TIFF and HEIC. Turned as their EXIF says. Colours go to sRGB by the embedded
profile, CMYK, palettes, grey and 16 bits to 8-bit RGB. Transparent parts are laid on white. Of an animation the first
frame is taken, of several pages the first. A mask is read as grey, its transparent parts as black; where that is
probably not what was meant, a note says what was understood. Size is judged by the header, before anything is decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from app.core.inputs import Role
from app.files.tiff import sizes_are_plain

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIF")
_SEVERAL = {  # what it is that has more than one picture
    **dict.fromkeys(("GIF", "PNG", "WEBP", "AVIF"), "is an animation; its first frame"),
    "TIFF": "has several pages; its first one",
}
_NEARLY_BLACK = 8  # of 255: an edge of JPEG is not drawn by anybody
PNG_COMPRESSION = 1  # of 9: they are kept for as long as the job, and made while a client waits
_SAME_SHAPE = 0.01  # how far a mask's aspect ratio may be from its picture's
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, TypeError, KeyError, RuntimeError),
    struct.error,
)
_MOST_SCANS = 200  # of a JPEG: each is decoded over the whole picture; cameras and editors make about ten
_JPEGS = ("JPEG", "MPO")  # MPO: with a segment of multi-picture files
_SCAN = b"\xff\xda"
_LARGEST_TILE = 1 << 20  # pixels of a TIFF's tile that may be larger than its picture: many programs write 256 × 256
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class UnusablePicture(Exception):
    """Says what is wrong, as the end of a sentence that begins with the field's name."""


@dataclass(frozen=True)
class Decoded:
    """A picture as people see it: turned, RGB (a mask: L). `notes` say what was done to it."""

    picture: Image.Image
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size


def measure(data: bytes, *, max_pixels: int) -> int:
    """How many pixels decoding the picture in `data` can take, by its header. Raises UnusablePicture.

    Of an AVIF as many as are allowed: the size in its header is that of the container, the decoder goes by another one.
    """
    with _opened(data, max_pixels) as opened:
        return max_pixels if opened.format == "AVIF" else opened.width * opened.height


def decode(data: bytes, role: Role, *, max_pixels: int) -> Decoded:
    """The picture in `data`: up to 16 bytes a pixel while it is made plain. Raises UnusablePicture."""
    with _opened(data, max_pixels) as opened:
        return _plain(opened, role)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    _know_heif()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened.size, max_pixels)
            _check_hidden_work(opened, data)
            yield opened
    except Image.DecompressionBombError:
        raise UnusablePicture(f"has too many pixels; at most {max_pixels:,} are allowed") from None
    except Image.UnidentifiedImageError:
        raise UnusablePicture(f"is no picture that can be read; use {', '.join(FORMATS)} (HEIC)") from None
    except _BROKEN as error:
        raise UnusablePicture(f"is damaged: {str(error)[:100] or type(error).__name__}") from None


def encode(decoded: Decoded, size: tuple[int, int]) -> bytes:
    """A PNG of `size`: the picture is scaled to cover it, and cut alike on both sides."""
    picture = decoded.picture
    if decoded.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_COMPRESSION)
    return buffer.getvalue()


def resizing_note(own: tuple[int, int], size: tuple[int, int]) -> str | None:
    """What `encode` does to a picture of `own` size, in words; None for nothing."""
    if own == size:
        return None
    missing = abs(own[0] * size[1] - own[1] * size[0]) / max(own)  # pixels of the result
    how = "scaled and cut at its edges" if missing > 1 else "scaled"
    return f"The image is {own[0]} × {own[1]} and was {how} to {size[0]} × {size[1]}."


def match(mask: Decoded, size: tuple[int, int]) -> Decoded:
    """`mask` at the `size` of its picture. Raises UnusablePicture when it has another shape."""
    if mask.size == size:
        return mask
    own, theirs = mask.size[0] / mask.size[1], size[0] / size[1]
    ours, its = f"{mask.size[0]} × {mask.size[1]}", f"{size[0]} × {size[1]}"
    if abs(own / theirs - 1) > _SAME_SHAPE:
        raise UnusablePicture(f"is {ours} and the image {its}; make them the same size, or at least the same shape")
    note = f"The mask was {ours} and was scaled to the image's {its}."
    return Decoded(mask.picture.resize(size, Image.Resampling.BILINEAR), (*mask.notes, note))


def pixels_of(png: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a PNG that `encode` made: height × width × 3, of a mask height × width."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture)


@cache
def _know_heif() -> None:
    """Teach Pillow the photos of phones. Here: it takes 20 MB that only whoever meets a picture needs."""
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False, decode_threads=1)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise UnusablePicture(f"is {size[0]} × {size[1]} pixels; at most {max_pixels:,} are allowed. Make it smaller")


def _check_hidden_work(opened: Image.Image, data: bytes) -> None:
    """Raises UnusablePicture for files that cost far more than their size says."""
    if opened.format in _JPEGS and data.count(_SCAN) > _MOST_SCANS:
        raise UnusablePicture(f"has more than {_MOST_SCANS} scans. Save it again, not progressive")
    if opened.format == "TIFF":
        if not sizes_are_plain(data):
            raise UnusablePicture("says its sizes in a way that cannot be checked. Save it again as PNG")
        tags = getattr(opened, "tag_v2", {})
        tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
        if tile > max(_LARGEST_TILE, opened.width * opened.height):
            raise UnusablePicture("has tiles larger than itself. Save it again as PNG")


def _plain(opened: Image.Image, role: Role) -> Decoded:
    notes: list[str] = []
    if opened.format in _SEVERAL and _has_more(opened):
        notes.append(f"The {role} {_SEVERAL[opened.format]} was used.")
    opened.seek(0)
    picture = _to_eight_bits(opened)
    ImageOps.exif_transpose(picture, in_place=True)
    picture, transparent = _flattened(_to_srgb(picture), role)
    if role == "mask":
        notes += _doubts_about_mask(picture, transparent)
    elif transparent:
        notes.append("The image's transparent parts were laid on white.")
    return Decoded(picture, tuple(notes))


def _has_more(opened: Image.Image) -> bool:
    """Whether there is a second picture in the file. Not by counting them: a TIFF may have a million pages."""
    try:
        opened.seek(1)
    except EOFError:
        return False
    return True


def _doubts_about_mask(mask: Image.Image, transparent: bool) -> list[str]:
    """What was understood, where something else was probably meant: masks of other programs mean other things."""
    doubts = []
    darkest, brightest = (int(value) for value in np.asarray(mask.getextrema()))
    if transparent:
        doubts.append(
            "The mask has transparent parts: they count as black and are kept. Where transparent means the part to"
            " paint, as in OpenAI's API, send a mask that is white there and black elsewhere."
        )
    if brightest == 1:
        doubts.append("The mask holds only the values 0 and 1, of 255: nothing is painted anew. White is 255.")
    elif brightest < _NEARLY_BLACK:
        doubts.append("The mask is black everywhere: nothing is painted anew. What is white in it is painted.")
    elif darkest > 255 - _NEARLY_BLACK:
        doubts.append("The mask is white everywhere: the whole picture is painted anew.")
    return doubts


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8: converted as it stands, nearly everything would become white."""
    if picture.mode == "F":
        raise UnusablePicture("holds fractions instead of colours; save it with 8 bits per channel")
    if not picture.mode.startswith("I"):
        picture.load()
        return picture
    wide = np.asarray(picture).astype(np.int64).clip(0, 65_535)
    narrow = Image.fromarray((wide >> 8).astype(np.uint8))
    narrow.info = picture.info
    return narrow


def _to_srgb(picture: Image.Image) -> Image.Image:
    """By the embedded profile, when there is one that can be used. Palettes carry none worth the trouble."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *_BROKEN):
        return picture
    return converted if converted is not None else picture


def _flattened(picture: Image.Image, role: Role) -> tuple[Image.Image, bool]:
    """RGB or grey without transparency, and whether there was any."""
    mode, ground = ("RGB", "white") if role == "image" else ("L", "black")
    if not picture.has_transparency_data:
        return picture.convert(mode), False
    layers = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    lowest, _ = layers.getchannel("A").getextrema()
    flat = Image.new("RGBA", layers.size, ground)
    flat.alpha_composite(layers)
    return flat.convert(mode), lowest != 255

"""Decodes input pictures by their content, and encodes them as plain PNGs of the requested size.

Formats: PNG, JPEG, WebP, GIF, BMP, AVIF, TIFF and HEIC. EXIF rotation is applied. Colours are converted to sRGB by the
embedded profile; CMYK, palettes, grey and 16 bits to 8-bit RGB. Transparency is put on white. Of animations the first
frame is used, of several pages the first. A mask is converted to grey, its transparent parts to black; where that is
probably not intended, a note explains it. Size limits are checked by the header, before decoding.
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

from app.core.inputs import Channel, Role
from app.files.tiff import sizes_are_plain

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIF")
_SEVERAL = {  # notes for files with several pictures
    **dict.fromkeys(("GIF", "PNG", "WEBP", "AVIF"), "is an animation; its first frame"),
    "TIFF": "has several pages; its first one",
}
_NEARLY_BLACK = 8  # of 255: JPEG artefacts are not part of a mask
PNG_COMPRESSION = 1  # of 9: stored as long as the job, and encoded while a client waits
_SAME_SHAPE = 0.01  # tolerance between the aspect ratios of mask and picture
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
    """The message completes a sentence that begins with the field's name."""


@dataclass(frozen=True)
class Decoded:
    """An upright picture, RGB (a mask: L, by `decode_whole` also RGBA). `notes` describe the conversions."""

    picture: Image.Image
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size


def measure(data: bytes, *, max_pixels: int) -> int:
    """The most pixels that decoding `data` can take, by its header. Raises UnusablePicture.

    For an AVIF `max_pixels`: the size in its header is that of the container, but the decoder uses another one.
    """
    with _opened(data, max_pixels) as opened:
        return max_pixels if opened.format == "AVIF" else opened.width * opened.height


def decode(data: bytes, role: Role, *, max_pixels: int, channel: Channel = "luminance") -> Decoded:
    """Decode and convert the picture; takes up to 16 bytes per pixel. `channel` is what a mask is read from. Raises
    UnusablePicture."""
    with _opened(data, max_pixels) as opened:
        if role == "mask" and channel == "alpha":
            return _mask_of_alpha(opened)
        return _converted(opened, role)


def decode_whole(data: bytes, *, max_pixels: int) -> Decoded:
    """The picture with its transparency: RGBA where it has any, else RGB. Raises UnusablePicture."""
    with _opened(data, max_pixels) as opened:
        opened.load()
        if not opened.has_transparency_data:
            return _converted(opened, "image")
        picture = ImageOps.exif_transpose(opened)
        return Decoded(picture if picture.mode == "RGBA" else picture.convert("RGBA"))


def text_of(data: bytes, *, max_pixels: int) -> dict[str, str]:
    """The text in a picture, by keyword, read without decoding it. Raises UnusablePicture."""
    with _opened(data, max_pixels) as opened:
        return {str(name): text for name, text in opened.info.items() if isinstance(text, str)}


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    _register_heif()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened.size, max_pixels)
            _check_hidden_work(opened, data)
            yield opened
    except Image.DecompressionBombError:
        raise UnusablePicture(f"has too many pixels; at most {max_pixels:,} are allowed") from None
    except Image.UnidentifiedImageError:
        raise UnusablePicture(f"is not in a supported format; use {', '.join(FORMATS)} (HEIC)") from None
    except _BROKEN as error:
        raise UnusablePicture(f"is damaged: {str(error)[:100] or type(error).__name__}") from None


def encode(decoded: Decoded, size: tuple[int, int]) -> bytes:
    """A PNG of `size`: the picture is scaled to cover it and cropped equally on both sides."""
    picture = decoded.picture
    if decoded.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_COMPRESSION)
    return buffer.getvalue()


def resizing_note(own: tuple[int, int], size: tuple[int, int]) -> str | None:
    """A note about what `encode` does to a picture of size `own`; None if nothing."""
    if own == size:
        return None
    missing = abs(own[0] * size[1] - own[1] * size[0]) / max(own)  # pixels of the result
    how = "scaled and cropped" if missing > 1 else "scaled"
    return f"The image is {own[0]} × {own[1]} and was {how} to {size[0]} × {size[1]}."


def match(mask: Decoded, size: tuple[int, int]) -> Decoded:
    """`mask` scaled to the `size` of its picture. Raises UnusablePicture if its aspect ratio differs."""
    if mask.size == size:
        return mask
    own, theirs = mask.size[0] / mask.size[1], size[0] / size[1]
    ours, its = f"{mask.size[0]} × {mask.size[1]}", f"{size[0]} × {size[1]}"
    if abs(own / theirs - 1) > _SAME_SHAPE:
        raise UnusablePicture(f"is {ours} and the image {its}; use the same size, or at least the same aspect ratio")
    note = f"The mask was {ours} and was scaled to the image's {its}."
    return Decoded(mask.picture.resize(size, Image.Resampling.BILINEAR), (*mask.notes, note))


def pixels_of(png: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a PNG made by `encode`: height × width × 3, or × 4 with transparency; of a mask height × width."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture)


@cache
def _register_heif() -> None:
    """Register the HEIF decoder with Pillow. Imported here: it takes 20 MB, needed only with input pictures."""
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False, decode_threads=1)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise UnusablePicture(f"is {size[0]} × {size[1]} pixels; at most {max_pixels:,} are allowed. Scale it down")


def _check_hidden_work(opened: Image.Image, data: bytes) -> None:
    """Raises UnusablePicture for files that are far more expensive to decode than their size suggests."""
    if opened.format in _JPEGS and data.count(_SCAN) > _MOST_SCANS:
        raise UnusablePicture(f"has more than {_MOST_SCANS} scans. Save it as a non-progressive JPEG")
    if opened.format == "TIFF":
        if not sizes_are_plain(data):
            raise UnusablePicture("has sizes that cannot be checked. Save it again as PNG")
        tags = getattr(opened, "tag_v2", {})
        tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
        if tile > max(_LARGEST_TILE, opened.width * opened.height):
            raise UnusablePicture("has tiles larger than the picture. Save it again as PNG")


def _converted(opened: Image.Image, role: Role) -> Decoded:
    notes: list[str] = []
    if opened.format in _SEVERAL and _has_more(opened):
        notes.append(f"The {role} {_SEVERAL[opened.format]} was used.")
    opened.seek(0)
    picture = _to_eight_bits(opened)
    ImageOps.exif_transpose(picture, in_place=True)
    picture, transparent = _flattened(_to_srgb(picture), role)
    if role == "mask":
        notes += _mask_notes(picture, transparent)
    elif transparent:
        notes.append("The image's transparent parts were replaced by white.")
    return Decoded(picture, tuple(notes))


def _mask_of_alpha(opened: Image.Image) -> Decoded:
    """A mask that is white where the picture is transparent."""
    opened.load()
    if not opened.has_transparency_data:
        raise UnusablePicture(
            "has no transparency, which marks the part to repaint; save it as PNG with transparent parts"
        )
    picture = ImageOps.exif_transpose(opened)
    alpha = (picture if picture.mode == "RGBA" else picture.convert("RGBA")).getchannel("A")
    mask = ImageOps.invert(alpha)
    brightest = int(np.asarray(mask.getextrema())[1])
    note = "The mask has no transparent part: nothing is repainted."
    return Decoded(mask, (note,) if brightest < _NEARLY_BLACK else ())


def _has_more(opened: Image.Image) -> bool:
    """Whether the file has a second picture. Not by counting them: a TIFF may have a million pages."""
    try:
        opened.seek(1)
    except EOFError:
        return False
    return True


def _mask_notes(mask: Image.Image, transparent: bool) -> list[str]:
    """Notes for masks that were probably meant differently, as in other programs."""
    notes = []
    darkest, brightest = (int(value) for value in np.asarray(mask.getextrema()))
    if transparent:
        notes.append(
            "The mask has transparent parts: they count as black and are kept. If transparent parts should be painted,"
            " as in OpenAI's API, send a mask that is white there and black elsewhere."
        )
    if brightest == 1:
        notes.append("The mask only has the values 0 and 1, of 255: nothing is repainted. White is 255.")
    elif brightest < _NEARLY_BLACK:
        notes.append("The mask is black everywhere: nothing is repainted. White parts are repainted.")
    elif darkest > 255 - _NEARLY_BLACK:
        notes.append("The mask is white everywhere: the whole picture is repainted.")
    return notes


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits: Pillow's conversion would clip nearly everything to white."""
    if picture.mode == "F":
        raise UnusablePicture("has floating-point pixels; save it with 8 bits per channel")
    if not picture.mode.startswith("I"):
        picture.load()
        return picture
    wide = np.asarray(picture).astype(np.int64).clip(0, 65_535)
    narrow = Image.fromarray((wide >> 8).astype(np.uint8))
    narrow.info = picture.info
    return narrow


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Convert by the embedded profile, if it is usable. Profiles of palette pictures are ignored."""
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
    """RGB or grey without transparency, and whether any was removed."""
    mode, ground = ("L", "black") if role == "mask" else ("RGB", "white")
    if not picture.has_transparency_data:
        return picture.convert(mode), False
    layers = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    lowest, _ = layers.getchannel("A").getextrema()
    flat = Image.new("RGBA", layers.size, ground)
    flat.alpha_composite(layers)
    return flat.convert(mode), lowest != 255

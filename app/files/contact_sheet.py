"""Draws a contact sheet, row by row: memory holds one row of cells, however many there are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from app.core.batches.grid import Layout
from app.files.images import THUMBNAIL_PIXELS

GAP = 4
_PAPER, _INK, _FAINT, _EMPTY = (255, 255, 255), (20, 20, 24), (110, 110, 118), (236, 236, 240)
LARGEST_WEBP_SIDE = 16_383  # by the format
LARGEST_WEBP_PIXELS = 40_000_000


Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Cell:
    """`small` and `whole` open files of its picture, None without one; `text` is what stands there instead."""

    label: str
    small: Opener | None = None
    whole: Opener | None = None
    text: str = ""


class ContactSheet:
    """`shape` is height ÷ width of the cells."""

    def __init__(self, layout: Layout, shape: float) -> None:
        self._layout = layout
        self._height = max(16, round(layout.cell * min(max(shape, 0.2), 5.0)))
        self._font = ImageFont.load_default(layout.text)
        self._label = 0 if layout.columns else layout.line  # above each cell, without columns

    @property
    def size(self) -> tuple[int, int]:
        return self._layout.width, self._layout.head + len(self._layout.rows) * self.row_height + GAP

    @property
    def row_height(self) -> int:
        return self._height + self._label + GAP

    def head(self) -> Image.Image:
        """The title, and the labels of the columns."""
        band, draw = self._band(self._layout.head)
        draw.text((GAP, GAP), self._fitted(self._layout.title, self._layout.width), _FAINT, self._font)
        for column, label in enumerate(self._layout.columns):
            for line, text in enumerate(self._lines(label, self._layout.cell, 2)):
                place = (self._left(column), self._layout.line * (3 / 2 + line) + GAP)
                draw.text(place, text, _INK, self._font)
        return band

    def row(self, label: str, cells: Sequence[Cell]) -> Image.Image:
        band, draw = self._band(self.row_height)
        room = self._layout.side - GAP
        for line, text in enumerate(self._lines(label, room, self._height // self._layout.line) if room > 0 else ()):
            draw.text((GAP, line * self._layout.line), text, _INK, self._font)
        for column, cell in enumerate(cells):
            self._draw(band, draw, self._left(column), cell)
        return band

    def foot(self) -> Image.Image:
        return self._band(GAP)[0]

    def _draw(self, band: Image.Image, draw: ImageDraw.ImageDraw, left: int, cell: Cell) -> None:
        width, height, top = self._layout.cell, self._height, self._label
        if self._label:
            draw.text((left, 0), self._fitted(cell.label, width), _INK, self._font)
        picture = self._picture(cell)
        if picture is not None:
            band.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
            return
        draw.rectangle((left, top, left + width - 1, top + height - 1), _EMPTY)
        draw.text((left + GAP, top + GAP), self._fitted(cell.text, width - GAP), _FAINT, self._font)

    def _picture(self, cell: Cell) -> Image.Image | None:
        files = [cell.small, cell.whole]
        if max(self._layout.cell, self._height) > THUMBNAIL_PIXELS:
            files.reverse()
        for file in files:
            if file is None:
                continue
            try:
                with file() as stream, Image.open(stream, formats=("PNG", "JPEG", "WEBP")) as picture:
                    return _contained(picture.convert("RGB"), (self._layout.cell, self._height))
            except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
                continue  # removed meanwhile, a video, damaged
        return None

    def _left(self, column: int) -> int:
        return self._layout.side + GAP + column * (self._layout.cell + GAP)

    def _band(self, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        band = Image.new("RGB", (self._layout.width, height), _PAPER)
        return band, ImageDraw.Draw(band)

    def _fitted(self, text: str, width: int) -> str:
        """`text`, cut to the width."""
        if self._font.getlength(text) <= width:
            return text
        while text and self._font.getlength(f"{text}…") > width:
            text = text[: max(0, min(len(text) - 1, int(len(text) * 0.9)))]
        return f"{text}…"

    def _lines(self, text: str, width: int, most: int) -> list[str]:
        lines: list[str] = []
        for word in text.split(" "):
            joined = f"{lines[-1]} {word}" if lines else word
            if lines and self._font.getlength(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(word)
        kept = lines[:most] if len(lines) <= most else [*lines[: most - 1], " ".join(lines[most - 1 :])]
        return [self._fitted(line, width) for line in kept]


def _contained(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    factor = min(box[0] / picture.width, box[1] / picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def png_of(bands: Iterator[Image.Image], size: tuple[int, int]) -> Iterator[bytes]:
    """A PNG of bands that stand below each other, piece by piece."""
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    packer = zlib.compressobj(6)
    for band in bands:
        if packed := packer.compress(_scanlines(band)):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _scanlines(band: Image.Image) -> bytes:
    """Each line with a byte that says that it is not filtered."""
    line = band.width * 3
    data = band.tobytes()
    return b"".join(b"\0" + data[start : start + line] for start in range(0, len(data), line))


def webp_of(bands: Iterator[Image.Image], size: tuple[int, int], quality: int) -> bytes:
    """A WebP of the bands, which the format makes as a whole."""
    sheet, top = Image.new("RGB", size, _PAPER), 0
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""Input pictures: each format is decoded by a stated rule or refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from app.files import inputs
from app.files.inputs import UnusablePicture, decode, encode, match, pixels_of, resizing_note

MOST = 1_000_000
inputs._register_heif()  # so that these tests can write such files, too
Image.init()  # Pillow loads its plugins late, and one of them loads a picture


def file_of(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, role="image", max_pixels=MOST) -> tuple[np.ndarray, tuple[str, ...]]:
    decoded = decode(data, role, max_pixels=max_pixels)
    return pixels_of(encode(decoded, decoded.size)), decoded.notes


def halves(mode="RGB", left="red", right="blue", size=(8, 4)) -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(Image.new(mode, (size[0] // 2, size[1]), right), (size[0] // 2, 0))
    return picture


RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIF"])
def test_kinds_of_files(kind):
    options = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100, "subsampling": 0},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "HEIF": {"quality": 100, "chroma": 444},
    }
    pixels, notes = read(file_of(halves(size=(64, 32)), kind, **options.get(kind, {})))
    assert pixels.shape == (32, 64, 3)
    assert np.abs(pixels[0, 0].astype(int) - RED).max() < 6
    assert notes == ()


def test_the_content_counts_not_a_name_and_other_kinds_are_refused():
    for data in (b"", b"GIF89a", b"<svg/>", b"\x89PNG\r\n\x1a\n", file_of(halves(), "PPM"), file_of(halves(), "ICO")):
        with pytest.raises(UnusablePicture, match=r"is not in a supported format|is damaged"):
            read(data)


def test_the_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    pixels, _ = read(file_of(halves(), "PNG", exif=exif))
    assert pixels.shape == (8, 4, 3)
    assert list(pixels[0, 0]) == RED
    assert list(pixels[7, 0]) == BLUE


def test_transparent_parts_are_laid_on_white():
    picture = halves("RGBA", (255, 0, 0, 255), (0, 0, 255, 0))
    pixels, notes = read(file_of(picture))
    assert list(pixels[0, 0]) == RED
    assert list(pixels[0, 7]) == WHITE
    assert notes == ("The image's transparent parts were replaced by white.",)
    assert read(file_of(halves("RGBA", "red", "blue")))[1] == ()  # an alpha channel that hides nothing


def test_palettes_with_and_without_transparency():
    pixels, _ = read(file_of(halves().convert("P")))
    assert list(pixels[0, 7]) == BLUE
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 255, 0, 255, 0, 0])
    picture.putpixel((0, 0), 0)
    pixels, _ = read(file_of(picture, transparency=0))
    assert list(pixels[0, 0]) == WHITE
    assert list(pixels[1, 1]) == RED


def test_cmyk_becomes_rgb():
    pixels, _ = read(file_of(halves().convert("CMYK"), "JPEG", quality=100))
    assert np.abs(pixels[0, 0].astype(int) - RED).max() < 12


def test_grey_of_sixteen_bits_keeps_its_greys():
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    pixels, _ = read(file_of(Image.fromarray(ramp)))
    assert (pixels[..., 0] == (ramp >> 8)).all()


def test_colour_profiles_are_applied():
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same, _ = read(file_of(halves(), icc_profile=lab_like))
    assert np.abs(same[0, 0].astype(int) - RED).max() < 3
    broken, _ = read(file_of(halves(), icc_profile=b"no profile at all"))
    assert list(broken[0, 0]) == RED


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "white")]
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    pixels, notes = read(data)
    assert np.abs(pixels[0, 0].astype(int) - RED).max() < 4
    assert notes == ("The image is an animation; its first frame was used.",)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header has a large size, with almost no content."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def patched_size(kind: str, side: int) -> bytes:
    """A small picture whose header has a large size."""
    data = bytearray(file_of(halves(size=(64, 64)), kind))
    if kind == "TIFF":
        for tag in (256, 257):  # ImageWidth, ImageLength
            at = data.index(struct.pack("<HH", tag, 4))
            data[at + 8 : at + 12] = struct.pack("<I", side)
        return bytes(data)
    at = 0
    while (at := data.find(b"ispe", at)) >= 0:
        data[at + 8 : at + 16] = struct.pack(">II", side, side)
        at += 4
    return bytes(data)


@pytest.mark.parametrize("side", [1001, 30_000])
@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_a_bomb_of_another_kind_is_refused_by_its_header(kind, side, monkeypatch):
    data = patched_size(kind, side)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(
        UnusablePicture, match=r"pixels; at most 1,000,000 are allowed|is damaged|not in a supported format"
    ):
        read(data)


def test_pages_of_a_tiff_are_not_counted():
    pages = [Image.new("L", (1, 1), 0)] * 2000
    data = bytearray(file_of(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    seeks = []
    seek = TiffImagePlugin.TiffImageFile.seek
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TiffImagePlugin.TiffImageFile, "seek", lambda self, n: seeks.append(n) or seek(self, n))
        _, notes = read(bytes(data))
    assert notes == ("The image has several pages; its first one was used.",)
    assert max(seeks) == 1


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_the_other_kinds_are_turned_and_made_plain_too(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, _ = read(file_of(halves(size=(64, 32)), kind, exif=exif))
    # HEIC turns by a box of its own, which its reader heeds; EXIF means nothing there.
    assert pixels.shape == ((32, 64, 3) if kind == "HEIF" else (64, 32, 3))
    clear = file_of(Image.new("RGBA", (64, 64), (0, 0, 255, 0)), kind)
    pixels, notes = read(clear)
    assert pixels.min() > 250
    assert notes == ("The image's transparent parts were replaced by white.",)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_a_file_of_another_kind_cut_off(kind):
    noise = Image.effect_noise((128, 128), 50).convert("RGB")
    whole = file_of(noise, kind)
    for length in (20, len(whole) // 2, len(whole) - 60):
        with pytest.raises(UnusablePicture, match=r"damaged|not in a supported format"):
            read(whole[:length])


@pytest.mark.parametrize("side", [1001, 10_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(UnusablePicture, match="pixels; at most 1,000,000 are allowed"):
        read(png_header(side, side))


def test_a_file_cut_off_is_damaged():
    whole = file_of(Image.effect_noise((64, 64), 50).convert("RGB"))
    for length in (len(whole) // 2, len(whole) - 30):
        with pytest.raises(UnusablePicture, match="is damaged"):
            read(whole[:length])


def test_it_is_scaled_to_cover_and_cut_alike_on_both_sides():
    decoded = decode(file_of(halves(size=(80, 40))), "image", max_pixels=MOST)
    pixels = pixels_of(encode(decoded, (20, 20)))
    assert pixels.shape == (20, 20, 3)
    assert np.abs(pixels[10, 2].astype(int) - RED).max() < 8
    assert np.abs(pixels[10, 17].astype(int) - BLUE).max() < 8


def test_resizing_note():
    assert resizing_note((64, 64), (64, 64)) is None
    assert resizing_note((80, 40), (20, 20)) == "The image is 80 × 40 and was scaled and cropped to 20 × 20."
    assert resizing_note((1000, 750), (512, 384)) == "The image is 1000 × 750 and was scaled to 512 × 384."


def test_a_mask_is_grey_and_what_it_leaves_open_is_kept():
    pixels, notes = read(file_of(halves("RGBA", (255, 255, 255, 255), (255, 255, 255, 0))), "mask")
    assert pixels.shape == (4, 8)
    assert pixels[0, 0] == 255
    assert pixels[0, 7] == 0
    assert [note.partition(":")[0] for note in notes] == ["The mask has transparent parts"]


def _on_transparent(colour: str) -> Image.Image:
    return halves("RGBA", colour, (0, 0, 0, 0))


MASKS = {
    "white on black": (halves("L", 255, 0), []),
    "grey steps": (halves("L", 200, 30), []),
    "one bit": (halves("1", 1, 0), []),
    "black everywhere": (Image.new("L", (8, 4), 0), ["nothing is repainted"]),
    "nearly black everywhere": (Image.new("RGB", (8, 4), (3, 3, 3)), ["nothing is repainted"]),
    "white everywhere": (Image.new("L", (8, 4), 255), ["the whole picture is repainted"]),
    "one bit, all set": (Image.new("1", (8, 4), 1), ["the whole picture is repainted"]),
    "values 0 and 1": (halves("L", 1, 0), ["only has the values 0 and 1"]),
    "black drawn on transparent": (_on_transparent("black"), ["count as black", "nothing is repainted"]),
    "white drawn on transparent": (_on_transparent("white"), ["count as black"]),
    "a photo with a hole": (_on_transparent("orange"), ["count as black"]),
    "an alpha channel that hides nothing": (halves("RGBA", "white", "black"), []),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_probably_misunderstood_mask_is_used_with_a_note(name):
    picture, words = MASKS[name]
    _, notes = read(file_of(picture), "mask")
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
    assert read(file_of(picture.convert("RGB")))[1] == ()  # as a picture it is like any other


def test_a_mask_of_the_same_shape_is_scaled_and_of_another_refused():
    mask = decode(file_of(halves("L", 255, 0, (16, 8))), "mask", max_pixels=MOST)
    assert match(mask, (16, 8)) is mask
    scaled = match(mask, (64, 32))
    assert scaled.size == (64, 32)
    assert scaled.notes == ("The mask was 16 × 8 and was scaled to the image's 64 × 32.",)
    with pytest.raises(UnusablePicture, match="is 16 × 8 and the image 64 × 64; use the same size"):
        match(mask, (64, 64))


def tiled_tiff(width: int, height: int, tile: int) -> bytes:
    """A grey TIFF of one tile."""
    content = zlib.compress(bytes(tile * tile))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 0, 325: len(content)}
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    tags[324] = len(head) + 12 * len(tags) + 4
    return head + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4) + content


def test_tiles_larger_than_their_picture_are_refused():
    assert read(tiled_tiff(64, 64, 256))[0].shape == (64, 64, 3)
    with pytest.raises(UnusablePicture, match="tiles larger than the picture"):
        inputs.measure(tiled_tiff(64, 64, 2048), max_pixels=MOST)


def test_a_jpeg_of_many_scans_is_refused():
    jpeg = file_of(halves(), "JPEG", progressive=True)
    assert inputs.measure(jpeg, max_pixels=MOST) == 32
    with pytest.raises(UnusablePicture, match="scans"):
        inputs.measure(jpeg[:-2] + b"\xff\xda\0\x08\1\1\0\0\0\0" * 200 + jpeg[-2:], max_pixels=MOST)


def test_an_avif_counts_as_much_as_any_picture_may():
    """The decoder does not use the size in its header."""
    assert inputs.measure(file_of(halves(size=(16, 16)), "AVIF"), max_pixels=MOST) == MOST


def test_whatever_a_decoder_raises_is_a_damaged_picture(monkeypatch):
    def fails(*_args, **_options):
        raise RuntimeError("Failed to decode frame")

    monkeypatch.setattr(inputs.Image, "open", fails)
    with pytest.raises(UnusablePicture, match="is damaged: Failed"):
        read(b"anything")


@pytest.mark.parametrize("kind", [16, 17, 18])
def test_a_tile_size_that_only_the_decoder_can_read_is_refused(kind):
    data = bytearray(tiled_tiff(64, 64, 2048))
    for tag in (322, 323):
        at = data.index(struct.pack("<HH", tag, 4))
        data[at + 2 : at + 4] = struct.pack("<H", kind)
    with pytest.raises(UnusablePicture):
        inputs.measure(bytes(data), max_pixels=MOST)


def test_scans_are_counted_whatever_kind_of_jpeg_it_is():
    """Pillow treats a JPEG with a multi-picture segment as another format."""
    several = io.BytesIO()
    halves().save(several, "MPO", save_all=True, append_images=[halves()])
    many = several.getvalue() + b"\xff\xda\0\x08\1\1\0\0\0\0" * 200
    with Image.open(io.BytesIO(many)) as opened:
        assert opened.format == "MPO"
    with pytest.raises(UnusablePicture, match="scans"):
        inputs.measure(many, max_pixels=MOST)


def test_a_mask_may_be_read_from_transparency() -> None:
    """Transparent is painted, whatever colour lies under it: OpenAI's meaning."""
    picture = halves("RGBA", (255, 255, 255, 255), (255, 255, 255, 0))
    decoded = decode(file_of(picture), "mask", max_pixels=MOST, channel="alpha")
    assert decoded.picture.mode == "L"
    assert (decoded.picture.getpixel((0, 0)), decoded.picture.getpixel((7, 0))) == (0, 255)
    assert not decoded.notes
    opaque = decode(file_of(Image.new("RGBA", (8, 4), "red")), "mask", max_pixels=MOST, channel="alpha")
    assert "nothing is repainted" in opaque.notes[0]
    with pytest.raises(UnusablePicture, match="transparen"):
        decode(file_of(Image.new("RGB", (8, 4))), "mask", max_pixels=MOST, channel="alpha")

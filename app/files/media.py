"""Reads and writes pictures and videos from providers, by content and not by name."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from app.files.folder_store import storage_errors

MANIFEST_TAG = "comment"
_H264 = {  # crf of 0 to 51: visually nearly lossless
    "crf": "17",
    "preset": "medium",
    "x264-params": "cpu-independent=1",  # otherwise SIMD reads uninitialised bytes, and results differ between runs
}
MAX_PIXELS = 100_000_000
_IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")


class Unreadable(Exception):
    """The bytes are not a supported picture or video; the message says why."""


@dataclass(frozen=True)
class VideoFacts:
    """`poster` is the first frame: uint8 RGB."""

    mime_type: str
    poster: npt.NDArray[np.uint8]
    seconds: float
    fps: float


def is_video(content: bytes) -> bool:
    """True for MP4 (and related formats) or WebM, by the first bytes."""
    is_mp4 = content[4:8] == b"ftyp" and content[8:12] not in (b"avif", b"avis", b"heic", b"mif1")
    return is_mp4 or content[:4] == b"\x1aE\xdf\xa3"


def read_image(content: bytes) -> npt.NDArray[np.uint8]:
    """The pixels: uint8 RGB, or RGBA with transparency; of an animation the first frame. Raises
    Unreadable."""
    try:
        with Image.open(io.BytesIO(content), formats=_IMAGE_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Unreadable(f"the picture has {picture.width} × {picture.height} pixels, which is too many")
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(f"it cannot be read as a picture ({type(error).__name__})") from None


def read_video(content: bytes) -> VideoFacts:
    """Properties and first frame of a video. Raises Unreadable."""
    import av  # imported here: takes 60 MB, needed for videos only

    try:
        with av.open(io.BytesIO(content), "r") as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            seconds = float(container.duration or 0) / 1_000_000
            kind = "video/webm" if "webm" in container.format.name else "video/mp4"
            return VideoFacts(
                kind, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), seconds, float(stream.average_rate or 0)
            )
    except (av.FFmpegError, IndexError, StopIteration, ValueError) as error:
        raise Unreadable(f"it cannot be read as a video ({type(error).__name__})") from None


@dataclass(frozen=True)
class Sound:
    """`samples`: float32, (channels, samples), -1 to 1; one or two channels. `rate`: samples per second."""

    samples: npt.NDArray[np.float32]
    rate: int


def encode_mp4(frames: Iterable[npt.NDArray[np.uint8]], fps: int, sound: Sound | None = None) -> bytes:
    """H.264 (and AAC) playable in all browsers, of `frames`: uint8 RGB with even sides, at least one. The same frames
    result in the same bytes, on any CPU."""
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    buffer, stream = io.BytesIO(), None
    with av.open(buffer, "w", format="mp4") as container:
        audio = None if sound is None else _add_sound(container, sound)
        for pixels in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options=dict(_H264))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
                context = stream.codec_context  # otherwise players guess the colour space by the size of the picture
                context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
                context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        if stream is not None:
            container.mux(stream.encode())
        if audio is not None and sound is not None:
            _encode_sound(container, audio, sound)
    return buffer.getvalue()


def _add_sound(container: Any, sound: Sound) -> Any:
    layout = "mono" if len(sound.samples) == 1 else "stereo"
    return container.add_stream("aac", rate=sound.rate, layout=layout, options={"b": "192k"})


def _encode_sound(container: Any, stream: Any, sound: Sound) -> None:
    import av

    samples = np.ascontiguousarray(sound.samples[:2], np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.layout.name)
    frame.sample_rate = sound.rate
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def read_frames(content: bytes) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the frames of a published video: uint8 RGB."""
    import av

    with av.open(io.BytesIO(content), "r") as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def with_manifest(content: bytes, mime_type: str, manifest: Mapping[str, Any]) -> bytes:
    """Remux a video without re-encoding, with its manifest inside and its index at the front, for streaming."""
    import av

    kind = "webm" if mime_type == "video/webm" else "mp4"
    options = {"movflags": "faststart+use_metadata_tags"} if kind == "mp4" else {}
    with _temporary_file(f".{kind}") as file:  # moving the index to the front needs a real file
        with av.open(io.BytesIO(content)) as source, av.open(file.name, "w", format=kind, options=options) as target:
            target.metadata[MANIFEST_TAG] = json.dumps(manifest, ensure_ascii=False, sort_keys=True)
            _copy(source, target)
        return Path(file.name).read_bytes()


@contextmanager
def _temporary_file(suffix: str) -> Iterator[Any]:
    with storage_errors(Path(tempfile.gettempdir())), tempfile.NamedTemporaryFile(suffix=suffix) as file:
        yield file


def _copy(source: Any, target: Any) -> None:
    """Copy video and audio, packet by packet."""
    wanted = [stream for stream in source.streams if stream.type in ("video", "audio")]
    copies = {stream.index: target.add_stream_from_template(stream) for stream in wanted}
    for packet in source.demux(wanted):
        if packet.dts is not None:
            packet.stream = copies[packet.stream.index]
            target.mux(packet)


def read_video_manifest(file: str | BinaryIO) -> dict[str, Any] | None:
    """The manifest in a published video; None if there is none."""
    import av

    try:
        with av.open(file) as container:
            tags = {name.lower(): text for name, text in container.metadata.items()}
        manifest = json.loads(tags.get(MANIFEST_TAG) or "null")
    except (av.FFmpegError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None

"""Small real files as outputs of a provider."""

from __future__ import annotations

import io
from functools import cache

import av
import numpy as np
from PIL import Image


@cache
def picture(kind: str = "PNG", side: int = 48, colour: tuple[int, ...] = (200, 30, 60)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (side, side), colour).save(buffer, kind)
    return buffer.getvalue()


@cache
def video(kind: str = "mp4", frames: int = 8, side: int = 48) -> bytes:
    """A second of eight frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream("libx264" if kind == "mp4" else "libvpx-vp9", rate=8)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((side, side, 3), number * 20, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()

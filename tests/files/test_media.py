"""Encoded videos: H.264 that keeps frames, colours and times."""

from __future__ import annotations

import io

import av
import numpy as np

from app.files.media import encode_mp4, read_frames, read_video, read_video_manifest, with_manifest

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (128, 128, 128), (255, 255, 255), (0, 0, 0))


def test_frames_and_colours_are_kept() -> None:
    frames = [np.full((64, 96, 3), colour, np.uint8) for colour in COLOURS]
    frames += [np.full((64, 96, 3), grey, np.uint8) + np.arange(96, dtype=np.uint8)[:, None] for grey in range(40)]
    found = list(read_frames(encode_mp4(frames, 24)))
    assert len(found) == len(frames)
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(found, frames, strict=True)) <= 8


def test_how_long_and_how_fast() -> None:
    content = encode_mp4([np.zeros((64, 96, 3), np.uint8)] * 12, 8)
    facts = read_video(content)
    assert (facts.mime_type, facts.seconds, facts.fps, facts.poster.shape) == ("video/mp4", 1.5, 8.0, (64, 96, 3))
    with av.open(io.BytesIO(content)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, as television has it


def test_one_frame_is_a_video_too() -> None:
    assert len(list(read_frames(encode_mp4([np.zeros((32, 32, 3), np.uint8)], 25)))) == 1


def test_what_is_published_has_its_index_in_front(tmp_path) -> None:
    content = encode_mp4([np.zeros((64, 96, 3), np.uint8)] * 4, 8)
    published = with_manifest(content, "video/mp4", {"prompt": "waves"})
    assert published.index(b"moov") < published.index(b"mdat")
    (tmp_path / "a.mp4").write_bytes(published)
    assert read_video_manifest(str(tmp_path / "a.mp4")) == {"prompt": "waves"}
    assert len(list(read_frames(published))) == 4

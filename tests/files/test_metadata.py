"""Marking a video as AI-generated does not change its content."""

from __future__ import annotations

import struct

from app.files.media import read_video, read_video_manifest, with_manifest
from app.files.metadata import FROM_TEXT, marked_mp4, xmp_packet
from tests.providers.media import video


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    """The top-level boxes of an MP4: type and content."""
    found, harness = [], 0
    while harness < len(content):
        size, kind = struct.unpack_from(">I4s", content, harness)
        assert size >= 8
        found.append((kind, content[harness + 8 : harness + size]))
        harness += size
    assert harness == len(content)
    return found


def test_an_mp4_is_marked_in_a_box_of_its_own(tmp_path) -> None:
    plain = with_manifest(video(), "video/mp4", {"prompt": "a boat"})
    marked = marked_mp4(plain, xmp_packet(FROM_TEXT, "CyberImage"))
    assert boxes(marked)[:-1] == boxes(plain)
    kind, content = boxes(marked)[-1]
    assert kind == b"uuid"
    assert content[:16].hex() == "be7acfcb97a942e89c71999491e3afac"
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in content
    before, after = read_video(plain), read_video(marked)
    assert (before.seconds, before.fps, before.mime_type) == (after.seconds, after.fps, after.mime_type)
    assert (before.poster == after.poster).all()
    path = tmp_path / "a.mp4"
    path.write_bytes(marked)
    assert read_video_manifest(str(path)) == {"prompt": "a boat"}

"""A picture that many clients ask for is encoded once."""

from __future__ import annotations

import pytest

from app.services.media.reencode import reencoded


def test_the_newest_are_kept_by_content_format_and_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bytes, str, int]] = []

    def encode(content: bytes, format: str, quality: int) -> bytes:
        calls.append((content, format, quality))
        return content * (1 if content == b"small" else 1_000_000)

    monkeypatch.setattr("app.files.images.reencode", encode)
    for _ in range(3):
        assert reencoded(b"small", "webp", 80) == b"small"
    reencoded(b"small", "webp", 81)
    reencoded(b"small", "png", 80)
    assert len(calls) == 3
    for _ in range(2):
        reencoded(b"large", "webp", 80)
    assert len(calls) == 5, "large ones are not kept"

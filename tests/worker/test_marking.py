"""Metadata of published files under EMBED_METADATA and MARK_AI_GENERATED."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from PIL import Image

from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


def published(harness: Harness) -> tuple[dict, list[str]]:
    """The text chunks of a picture, and the XMP of both its files."""
    harness.start(FakeEngine())
    (output,) = harness.completed(harness.submit("a secret boat")).outputs
    xmps = []
    for path in (output.path, output.thumbnail_path):
        with Image.open(harness.context.images.path(path)) as picture:
            xmp = picture.info.get("xmp", b"")
            xmps.append(xmp if isinstance(xmp, str) else xmp.decode())
            if picture.format == "PNG":
                text = dict(picture.text)
    assert output.manifest["prompt"] == "a secret boat"  # whatever the file says
    return text, xmps


def test_by_default_all_metadata_is_embedded(harness: Harness) -> None:
    text, xmps = published(harness)
    assert text["parameters"].startswith("a secret boat\n")
    assert json.loads(text["cyberimage"])["prompt"] == "a secret boat"
    assert all("trainedAlgorithmicMedia" in xmp for xmp in xmps)


def test_only_the_ai_mark(new_harness: Callable[..., Harness]) -> None:
    text, xmps = published(new_harness(EMBED_METADATA="false"))
    assert "secret" not in str(text)
    assert set(json.loads(text["cyberimage"])) == {"manifest_version", "image_id", "job_id", "digital_source_type"}
    assert all("trainedAlgorithmicMedia" in xmp for xmp in xmps)


@pytest.mark.parametrize("embed", ["true", "false"])
def test_not_marked(new_harness: Callable[..., Harness], embed: str) -> None:
    text, xmps = published(new_harness(MARK_AI_GENERATED="false", EMBED_METADATA=embed))
    assert "DigitalSourceType" not in "".join([*text.values(), *xmps])
    assert ("parameters" in text) is (embed == "true")

"""The tiny checkpoints are small and reproducible; that they reload and draw is tested in `families`."""

from __future__ import annotations

import hashlib

import pytest

from tools.tiny_models.build import FAMILIES, build
from tools.tiny_models.samples import SAMPLES

# A matrix of 2048 by 2048 stands in the transformer's class, whatever its settings.
WITH_A_WIDE_PROJECTION = ("hunyuan-image", "hunyuan-video-15", "hunyuan-video-15-i2v")


def digest(path):
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    content = b"".join(file.relative_to(path.parent).as_posix().encode() + file.read_bytes() for file in files)
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("family", FAMILIES)
def test_building_again_gives_the_same_bytes(built, tiny, tmp_path, family):
    built(family)
    again = build(family, tmp_path)
    assert digest(again) == digest(tiny / again.name)


@pytest.mark.parametrize("family", SAMPLES)
def test_they_are_small(built, family):
    largest = 20_000_000 if family in WITH_A_WIDE_PROJECTION else 3_000_000
    assert sum(file.stat().st_size for file in built(family).rglob("*") if file.is_file()) < largest

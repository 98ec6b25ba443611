"""The tiny checkpoints are small and reproducible."""

from __future__ import annotations

import hashlib

from tools.tiny_models.build import FAMILIES, build


def digest(path):
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def test_building_again_gives_the_same_bytes(tiny, tmp_path):
    for family in FAMILIES:
        built = build(family, tmp_path)
        assert digest(built) == digest(tiny / built.name)


def test_they_are_small(tiny):
    for folder in (tiny / family for family in FAMILIES if (tiny / family).is_dir()):
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 4_000_000

"""The tiny checkpoints are small, reproducible, reload offline, and draw."""

from __future__ import annotations

import hashlib

import diffusers
import numpy as np
import pytest
import torch

from app.engines.diffusers.load.checkpoint import inspect_folder
from app.engines.diffusers.load.processors import load_processors
from tools.families_report import small_edits
from tools.tiny_models.build import FAMILIES, build
from tools.tiny_models.samples import SAMPLES

# A matrix of 2048 by 2048 stands in the transformer's class, whatever its settings.
WITH_A_WIDE_PROJECTION = ("hunyuan-image", "hunyuan-video-15", "hunyuan-video-15-i2v")
DRAWN = [(family, task) for family, sample in SAMPLES.items() for task in sample.tasks]


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


@pytest.fixture(scope="session")
def reloaded(built):
    """The pipeline of a family from its files; the last one is kept for the family's other tasks."""
    kept: dict[str, diffusers.DiffusionPipeline] = {}

    def load(family):
        if family not in kept:
            kept.clear()
            folder = built(family)
            kept[family] = diffusers.DiffusionPipeline.from_pretrained(
                folder,
                dtype=getattr(torch, SAMPLES[family].dtype),
                local_files_only=True,
                **load_processors(inspect_folder(folder, None)),
            )
        return kept[family]

    return load


@pytest.mark.parametrize(("family", "task"), DRAWN)
def test_it_draws_what_the_table_says(reloaded, monkeypatch, family, task):
    sample, pipeline = SAMPLES[family], reloaded(family)
    assert type(pipeline).__name__ == sample.pipeline
    if task in sample.classes:
        pipeline = getattr(diffusers, sample.classes[task]).from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    for name, value in sample.small.items():
        monkeypatch.setattr(pipeline, name, value)
    with small_edits(type(pipeline).__name__):
        result = pipeline(**sample.arguments(task), generator=torch.Generator().manual_seed(5))
    frames = pictures(getattr(result, sample.output))
    assert len(frames) == (sample.frames or 1)
    assert np.isfinite(frames).all()
    assert frames.std() > 0.01 * frames.max() > 0  # neither black nor of one colour
    if sample.width:
        assert frames.shape[1:3] == (sample.height, sample.width)


def pictures(output):
    """The first of a pipeline's images, or the frames of its first video, as one array."""
    first = output[0]
    frames = first if isinstance(first, (list, np.ndarray)) else [first]
    return np.stack([np.asarray(frame, dtype=float) for frame in frames])

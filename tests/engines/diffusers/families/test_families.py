"""Every family for every task: drawn by the engine as by a plain script, with previews, cancelled, described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from app.core.families.lookup import family_of, tasks_of
from app.core.tasks import VIDEO_TASKS
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import Cancelled, OutOfMemory
from tools import families_report
from tools.families_report import (
    CLOSE,
    Recorder,
    Row,
    check,
    check_lora,
    drawn_by_engine,
    has_loras,
    requested,
    small_edits,
)
from tools.tiny_models.sample import Sample
from tools.tiny_models.samples import SAMPLES

FAMILIES = sorted(SAMPLES)
WITHOUT_RECORD = ("cogview4", "longcat-image", "ernie-image", "latte")  # as any other class of diffusers


@pytest.fixture(scope="module")
def loras_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("loras")


@pytest.fixture(scope="module")
def engine(tiny, loras_dir):
    """One for all tests, so that a family's tasks share a load."""
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, loras_dir=loras_dir))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_draws_what_diffusers_draws_and_leaves_no_trace(engine, built, loras_dir, family):
    """Cancelled, drawn for each task, out of memory, drawn with a LoRA, drawn again."""
    sample, folder = SAMPLES[family], built(family)
    tasks = families_report.tasks_of(sample)
    arguments = requested(family, tasks[0])
    with small_edits(sample.classes.get(tasks[0], sample.pipeline)):
        with pytest.raises(Cancelled):
            drawn_by_engine(engine, family, tasks[0], folder, arguments, Recorder(cancel_at=1))
        rows = [check(engine, family, task, folder) for task in tasks]
        for row in rows:
            assert not row.problem
            assert row.difference <= CLOSE, row
            if row.task != "img2video" and family not in families_report.FIXED_STEPS:  # two steps are too few for one
                assert row.previews > 0, row
            assert_described(sample, row)
        first = rows[0].drawing.pixels
        with pytest.raises(OutOfMemory), short_of_memory(engine, families_report.spec_of(family, folder)):
            drawn_by_engine(engine, family, tasks[0], folder, arguments, Recorder())
        if has_loras(family):
            changed = check_lora(engine, family, folder, loras_dir, first)
            assert changed.passed, changed
        again = drawn_by_engine(engine, family, tasks[0], folder, arguments, Recorder()).pixels
    assert np.array_equal(first, again)


def assert_described(sample: Sample, row: Row) -> None:
    """The manifest says how the picture was made."""
    made, pixels = row.drawing.made, row.drawing.pixels
    height, width = pixels.shape[-3:-1]
    said = made.effective
    assert (said["width"], said["height"], said["seed"]) == (width, height, families_report.SEED)
    assert said["steps_run"] >= 1
    assert made.versions["pipeline"] == sample.classes.get(row.task, sample.pipeline)
    assert json.loads(json.dumps(said)) is not None
    if row.task.endswith("2video"):
        assert said["num_frames"] == len(pixels)


@contextmanager
def short_of_memory(engine, spec) -> Iterator[None]:
    """The denoiser runs out of memory at each call after the first, as a GPU would when others take it meanwhile."""
    pipeline = engine._resident(spec).pipeline
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    calls = []

    def run_out(*_):
        calls.append(1)
        if len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    hook = denoiser.register_forward_pre_hook(run_out)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_api_says_what_it_can_do_before_it_is_loaded(family):
    sample = SAMPLES[family]
    stated = tasks_of(sample.pipeline, {"expand_timesteps": family == "wan-ti2v"})
    assert set(families_report.tasks_of(sample)) <= set(stated)
    assert all(task in VIDEO_TASKS for task in stated) or not set(stated) & set(VIDEO_TASKS)


def test_some_families_have_no_record():
    for family in WITHOUT_RECORD:
        assert family_of(SAMPLES[family].pipeline) is None


def test_the_page_about_models_lists_every_family_and_task():
    page = families_report.PAGE.read_text(encoding="utf-8")
    for sample in SAMPLES.values():
        for task in families_report.tasks_of(sample):
            assert f"| {sample.pipeline} | {task} | to the bit |" in page

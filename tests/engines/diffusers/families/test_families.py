"""Every family for every task: drawn by the engine as by a plain script, with previews, cancelled, described."""

from __future__ import annotations

import pytest

from app.core.families.lookup import family_of, tasks_of
from app.core.tasks import VIDEO_TASKS
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import Cancelled
from tools import families_report
from tools.families_report import CLOSE, Recorder, check, drawn_by_engine, requested, small_edits
from tools.tiny_models.samples import SAMPLES

FAMILIES = sorted(SAMPLES)
WITHOUT_RECORD = ("cogview4", "longcat-image", "ernie-image", "latte")  # as any other class of diffusers


@pytest.fixture(scope="module")
def engine(tiny):
    """One for all tests, so that a family's tasks share a load."""
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_draws_what_diffusers_draws_also_after_a_cancelled_call(engine, built, family):
    sample, folder = SAMPLES[family], built(family)
    tasks = families_report.tasks_of(sample)
    with small_edits(sample.classes.get(tasks[0], sample.pipeline)), pytest.raises(Cancelled):
        drawn_by_engine(engine, family, tasks[0], folder, requested(family, tasks[0]), Recorder(cancel_at=1))
    for task in tasks:
        row = check(engine, family, task, folder)
        assert not row.problem
        assert row.difference <= CLOSE, (family, task, row)
        if task != "img2video" and family not in families_report.FIXED_STEPS:  # two steps are too few for one
            assert row.previews > 0, (family, task)


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

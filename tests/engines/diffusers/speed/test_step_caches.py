"""Step caches: what each kind does to each pipeline that its family's record names, and that nothing of it stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.core.acceleration import StepCache
from app.core.families.lookup import caches_of
from app.engines.diffusers.generate.outputs import pictures_of
from app.engines.diffusers.generate.task_pipelines import pipeline_over
from app.engines.diffusers.speed.step_caches import StepCaching
from app.errors import Cancelled
from tests.engines.diffusers.generate.control import Recorder
from tools.families_report import small_edits
from tools.tiny_models.samples import SAMPLES

STEPS = 6
EAGER = {  # each skips as much as it can
    "first-block": StepCache(kind="first-block", threshold=1.0),
    "taylorseer": StepCache(kind="taylorseer", interval=4),
    "mag": StepCache(kind="mag", threshold=1.0, ratios=(1.0,)),
    "pyramid": StepCache(kind="pyramid", interval=3),
    "faster": StepCache(kind="faster", interval=3),
    "sea": StepCache(kind="sea", threshold=1.0),
}
CASES = [
    (family, task)
    for family, sample in SAMPLES.items()
    for task in sample.tasks
    if caches_of(sample.classes.get(task, sample.pipeline))
]


@pytest.mark.parametrize(("family", "task"), CASES, ids=["-".join(case) for case in CASES])
def test_each_kind_changes_the_picture_and_leaves_the_next_as_it_was(family, task):
    sample = SAMPLES[family]
    name, pipeline = sample.classes.get(task, sample.pipeline), sample.build()
    if type(pipeline).__name__ != name:
        pipeline = pipeline_over(pipeline, name)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {**sample.arguments(task), "num_inference_steps": STEPS}

    def draw(cache: StepCache | None = None) -> list[np.ndarray]:
        generator = torch.Generator().manual_seed(3)
        caching = StepCaching(cache)
        with torch.inference_mode(), torch.random.fork_rng(devices=[]), small_edits(name):
            torch.manual_seed(3)
            with caching.serving(pipeline, arguments, STEPS):
                return [
                    np.asarray(each)
                    for each in pictures_of(pipeline(**arguments, generator=generator, output_type="np"))
                ]

    plain = draw()
    for kind in caches_of(name):
        cached = draw(EAGER[kind])
        assert all(np.isfinite(each).all() for each in cached), kind
        assert any(not np.array_equal(one, other) for one, other in zip(cached, plain, strict=True)), kind
    assert all(np.array_equal(one, other) for one, other in zip(draw(), plain, strict=True))


@pytest.fixture
def draw(engine, ask):
    return lambda spec, control=None, inputs=None, **asked: engine.generate(
        spec, ask(num_inference_steps=STEPS, **asked), control or Recorder(), inputs or {}
    )


def pixels(generation):
    return generation.images[0].pixels


@pytest.mark.parametrize("kind", caches_of("FluxPipeline"))
def test_a_job_that_ended_early_changes_no_other(engine, spec_of, draw, kind):
    """Neither one that was cancelled, nor one that failed within a step; also of the same size."""
    spec = spec_of("flux", cache=EAGER[kind].model_dump(exclude_none=True))
    expected = pixels(draw(spec, seed=1))
    with pytest.raises(Cancelled):
        draw(spec, Recorder(cancel_at=STEPS - 1), seed=2)
    assert np.array_equal(pixels(draw(spec, seed=1)), expected)
    first = engine._model_cache.get(spec).pipeline.transformer.transformer_blocks[0]  # it is never skipped
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("shapes cannot be multiplied")

    hook = first.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError):
        draw(spec, seed=3, width=96)
    hook.remove()
    assert np.array_equal(pixels(draw(spec, seed=1)), expected)


def test_what_the_task_cannot_use_is_said_with_the_picture(spec_of, draw, engine):
    cached, plain = spec_of("flux", cache={"kind": "first-block", "threshold": 1.0}), spec_of("flux")
    asked = {"task": "img2img", "strength": 0.9, "seed": 4}
    start = {"image": np.full((64, 64, 3), 90, np.uint8)}
    without = draw(plain, inputs=start, **asked)
    made = draw(cached, inputs=start, **asked)
    assert np.array_equal(pixels(made), pixels(without))
    assert "FluxImg2ImgPipeline cannot use the step cache first-block: this was drawn without it." in made.warnings
    assert not any("step cache" in warning for warning in draw(cached).warnings)


def test_a_cache_that_cannot_tell_two_calls_apart_is_not_used_with_true_guidance(spec_of, draw):
    spec = spec_of("flux", cache={"kind": "pyramid", "interval": 3})
    asked = {"true_cfg_scale": 3.0, "negative_prompt": "blue"}
    made = draw(spec, **asked)
    assert np.array_equal(pixels(made), pixels(draw(spec_of("flux"), **asked)))
    assert "The step cache pyramid cannot be used with true_cfg_scale: this was drawn without it." in made.warnings


def test_jobs_with_a_cache_are_not_merged_and_pictures_not_drawn_together(engine, spec_of, draw, calls):
    spec = spec_of("flux", cache={"kind": "first-block"})
    made = draw(spec, num_images=2)
    assert not engine.merges(spec)
    assert [seeds for seeds, _ in calls] == [[7], [8]]
    assert made.versions["acceleration"] == "step cache first-block 0.05"


def test_a_cache_that_its_family_cannot_use_is_left_out(spec_of, draw, caplog):
    made = draw(spec_of("sd15", cache={"kind": "first-block"}))
    assert "acceleration" not in made.versions
    assert np.array_equal(pixels(made), pixels(draw(spec_of("sd15"))))
    assert "the step cache is left out: StableDiffusionPipeline cannot use the step cache first-block" in caplog.text


def test_mag_needs_ratios_where_none_are_known(built, spec_of, draw, caplog):
    built("flux2-klein")
    draw(spec_of("flux2-klein", cache={"kind": "mag"}))
    assert "mag needs the ratios of the model in its option cache" in caplog.text

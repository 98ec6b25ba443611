"""Several jobs in one call: each gets the image of its own prompt and seed, but for rounding, and its manifest says
so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from app.core.families import lookup
from app.core.job import Phase
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import merged, preview
from app.errors import Cancelled, ContentBlocked, GenerationError, OutOfMemory
from tests.engines.diffusers.generate.control import Recorder

FAMILIES = ("flux", "sd35", "sdxl", "sd15", "sana")
TOLERANCE = 1e-5  # of 0 to 1
WORDS = ("a red cat", "a blue boat on the sea under a very large and rather yellow sun", "x")


@pytest.fixture
def some(ask):
    """Requests that differ in words and seed."""
    return lambda **same: [ask(prompt=words, seed=40 + n, **same) for n, words in enumerate(WORDS)]


def recorders(count: int = len(WORDS)) -> list[Recorder]:
    return [Recorder() for _ in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("negatives", [None, ("grey", "a long list of all that is not wanted", "fog")])
def test_each_is_that_of_its_words_and_seed_alone(engine, spec_of, some, calls, family, negatives):
    spec, requests = spec_of(family), some(guidance_scale=4.0)
    if negatives:
        pairs = zip(requests, negatives, strict=True)
        requests = [request.model_copy(update={"negative_prompt": text}) for request, text in pairs]
    engine.load(spec, Recorder())
    assert engine.merges(spec)
    made = engine.generate_merged(spec, requests, recorders())
    ((_, together),) = calls
    calls.clear()
    for request, generation, picture in zip(requests, made, together, strict=True):
        alone = engine.generate(spec, request, Recorder())
        assert np.abs(picture - calls[-1][1][0]).max() <= TOLERANCE
        assert [image.seed for image in generation.images] == [request.seed]
        assert generation.effective == alone.effective | {"drawn_together": 3}
        assert (generation.merged, alone.merged) == (3, 1)
        assert (generation.versions, generation.warnings) == (alone.versions, alone.warnings)
    assert any(np.abs(together[0] - other).max() > 0.01 for other in together[1:])  # the words do count


def test_no_pipeline_is_taken_on_trust(engine, spec_of):
    """All that are merged are compared above."""
    compared = set()
    for family in FAMILIES:
        engine.load(spec_of(family), Recorder())
        compared.add(type(engine._model_cache.get(spec_of(family)).pipeline).__name__)
    assert compared == set().union(*(family.merges for family in lookup.FAMILIES))


def test_each_job_gets_the_steps_of_one_image(engine, spec_of, some):
    spec, controls = spec_of("flux"), recorders()
    engine.load(spec, Recorder())
    engine.generate_merged(spec, some(), controls)
    alone = Recorder()
    engine.generate(spec, some()[0], alone)
    for control in controls:
        assert control.reports == alone.reports
        assert control.reports[-1] == (Phase.DECODING, 3, 3)


def test_each_sees_its_own_preview(engine, spec_of, some, monkeypatch):
    for name in ("FIRST_AFTER_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS", "SHOWN_AT_LEAST_SECONDS"):
        monkeypatch.setattr(preview, name, 0.0)
    spec, controls = spec_of("sd35"), recorders()
    engine.load(spec, Recorder())
    engine.generate_merged(spec, some(), controls)
    for request, control in zip(some(), controls, strict=True):
        alone = Recorder()
        engine.generate(spec, request, alone)
        assert [step for step, _ in control.previews] == [1, 2]
        for (_, shown), (_, expected) in zip(control.previews, alone.previews, strict=True):
            assert np.abs(shown.astype(int) - expected.astype(int)).max() <= 1


def test_who_is_cancelled_does_not_stop_the_others(engine, spec_of, some):
    spec, controls = spec_of("flux"), recorders()
    controls[1] = Recorder(cancel_at=1)
    engine.load(spec, Recorder())
    made = engine.generate_merged(spec, some(), controls)
    assert [generation.images[0].seed for generation in made] == [40, 41, 42]


def test_the_call_ends_when_all_jobs_are_cancelled(engine, spec_of, some):
    spec, controls = spec_of("flux"), [Recorder(cancel_at=1), Recorder(cancel_at=2), Recorder(cancel_at=1)]
    engine.load(spec, Recorder())
    with pytest.raises(Cancelled):
        engine.generate_merged(spec, some(), controls)
    assert [control.last_step() for control in controls] == [2, 2, 2]


def test_what_is_not_in_memory_or_not_known_to_merge_is_left_alone(engine, spec_of):
    from diffusers import FirstBlockCacheConfig

    assert not engine.merges(spec_of("flux"))
    assert engine.resident() == []
    for family in ("flux", "lcm", "sana-sprint"):
        engine.load(spec_of(family), Recorder())
        assert engine.merges(spec_of(family)) is (family == "flux")
    engine._model_cache.get(spec_of("flux")).pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    assert not engine.merges(spec_of("flux"))


def test_without_memory_it_is_not_tried_again(engine, spec_of, some, monkeypatch):
    def short_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    spec = spec_of("sd15")
    engine.load(spec, Recorder())
    with monkeypatch.context() as patch:
        patch.setattr(merged, "draw", short_of_memory)
        with pytest.raises(OutOfMemory, match="ran 3 jobs in one call"):
            engine.generate_merged(spec, some(), recorders())
    assert not engine.merges(spec)
    engine.generate(spec, some()[0], Recorder())


def test_numbers_that_overflow_are_an_error_for_all(engine, spec_of, some):
    spec = spec_of("sd15")
    engine.load(spec, Recorder())
    weight = next(engine._model_cache.get(spec).pipeline.unet.parameters())
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(GenerationError, match="NaN or infinity"):
        engine.generate_merged(spec, some(), recorders())


def test_the_safety_checker_judges_each(settings, spec_of, some, monkeypatch):
    """It holds back the second alone."""
    engine = DiffusersEngine(dataclasses.replace(settings, safety_checker="checker"))
    seen = []

    def checker(pictures):
        seen.append(len(pictures))
        return [len(seen) == 2] * len(pictures)

    monkeypatch.setattr(engine._safety, "_load", lambda *_: checker)
    spec = spec_of("sd15")
    engine.load(spec, Recorder())
    first, second, third = engine.generate_merged(spec, some(), recorders())
    assert seen == [1, 1, 1]
    assert isinstance(second, ContentBlocked)
    assert [made.safety.value for made in (first, third)] == ["passed", "passed"]


def test_batch_control_reports_to_all_and_is_cancelled_when_all_are():
    one, other = Recorder(), Recorder()
    batch = merged.MergedControl([one, other])
    batch.report(Phase.DOWNLOADING)
    batch.downloaded(1, 2)
    assert [(each.phases(), each.downloads) for each in (one, other)] == [([Phase.DOWNLOADING], [(1, 2)])] * 2
    asked = []
    for each in (one, other):
        each.cancelled = lambda each=each: asked.append(each) or each is one
    assert not batch.cancelled()
    assert asked == [one, other]  # each is asked, whatever the others say
    other.cancelled = lambda: True
    assert batch.cancelled()

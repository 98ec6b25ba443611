"""Compiled models: LoRAs, sizes, failures of the compiler."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.speed import compilation
from tests.engines.diffusers.generate.control import Recorder

STYLE = [{"id": "style"}]


def drawn(engine, spec, ask, **asked):
    return engine.generate(spec, ask(**asked), Recorder()).images[0].pixels


@pytest.fixture(params=["regional", "full"])
def how(request):
    return request.param


def test_a_compiled_model_draws_what_the_plain_one_draws(engine, spec_of, ask, traced, how):
    plain = drawn(engine, spec_of("flux"), ask)
    compiled = spec_of("flux", compile=how)
    made = engine.generate(compiled, ask(), Recorder())
    assert traced() > 0
    assert np.array_equal(made.images[0].pixels, plain)
    assert made.versions["acceleration"] == f"compile {how}"


def test_a_lora_on_a_compiled_model_is_seen(lora_engine, spec_of, ask, traced, how):
    """torch does not look for new forward hooks: compiled code would draw the picture without the LoRA."""
    base = drawn(lora_engine, spec_of("flux"), ask)
    styled = drawn(lora_engine, spec_of("flux"), ask, loras=STYLE)
    assert not np.array_equal(base, styled)
    compiled = spec_of("flux", compile=how)
    assert np.array_equal(drawn(lora_engine, compiled, ask), base)
    before = traced()
    assert np.array_equal(drawn(lora_engine, compiled, ask, loras=STYLE), styled)
    assert np.array_equal(drawn(lora_engine, compiled, ask), base)
    assert traced() == before


def test_it_is_compiled_while_it_loads_and_not_for_the_first_job(engine, spec_of, ask, traced):
    size = {"width": 64, "height": 64}
    compiled = spec_of("flux", compile="regional", defaults=size)
    engine.load(compiled, Recorder())
    ahead = traced()
    assert ahead > 0
    drawn(engine, compiled, ask, **size)
    assert traced() == ahead


def test_other_sizes_compile_once_more_and_then_nothing(engine, spec_of, ask, traced):
    compiled = spec_of("flux", compile="regional", defaults={"width": 64, "height": 64})
    drawn(engine, compiled, ask)
    first = traced()
    drawn(engine, compiled, ask, width=96, height=64)
    second = traced()
    assert first < second <= 2 * first
    for width, height in ((128, 96), (64, 160), (96, 96)):
        drawn(engine, compiled, ask, width=width, height=height)
    assert traced() == second


@pytest.mark.parametrize("family", ["sd35", "sd15", "sana"])
def test_families_without_named_blocks_are_compiled_too(engine, spec_of, ask, traced, family):
    plain = drawn(engine, spec_of(family), ask)
    assert np.array_equal(drawn(engine, spec_of(family, compile="regional"), ask), plain)
    assert traced() > 0


def test_without_a_compiler_the_model_is_used_as_it_is(engine, spec_of, ask, monkeypatch, caplog):
    monkeypatch.setattr(compilation.shutil, "which", lambda _: None)
    plain = drawn(engine, spec_of("flux"), ask)
    with caplog.at_level(logging.WARNING):
        made = engine.generate(spec_of("flux", compile="regional", aliases=["x"]), ask(), Recorder())
    assert np.array_equal(made.images[0].pixels, plain)
    assert "acceleration" not in made.versions
    assert "there is no C++ compiler: install one" in caplog.text


def test_a_compiler_that_fails_ends_no_job(engine, spec_of, ask, monkeypatch, caplog):
    def broken(_graph, _inputs):
        raise RuntimeError("ld returned 1 exit status")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    torch._dynamo.reset()
    plain = drawn(engine, spec_of("flux"), ask)
    with caplog.at_level(logging.WARNING):
        made = engine.generate(spec_of("flux", compile="regional"), ask(), Recorder())
    assert np.array_equal(made.images[0].pixels, plain)
    assert "acceleration" not in made.versions
    assert "used without compilation" in caplog.text
    assert "ld returned 1 exit status" in caplog.text


def test_a_size_that_cannot_be_compiled_is_drawn_all_the_same(engine, spec_of, ask, monkeypatch):
    failing = []

    def sometimes(graph, _inputs):
        if failing:
            raise RuntimeError("ld returned 1 exit status")
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", sometimes)
    torch._dynamo.reset()
    compiled = spec_of("flux", compile="regional", defaults={"width": 64, "height": 64})
    plain = drawn(engine, spec_of("flux"), ask, width=96)
    drawn(engine, compiled, ask)
    failing.append(True)
    assert np.array_equal(drawn(engine, compiled, ask, width=96), plain)


def test_a_plan_that_moves_every_layer_is_not_compiled(settings, spec_of, traced):
    engine = DiffusersEngine(settings)
    from app.engines.diffusers.load.load_plan import LoadPlan
    from app.engines.diffusers.speed.acceleration import accelerate

    engine.load(spec_of("flux"), Recorder())
    pipeline = engine._model_cache.get(spec_of("flux")).pipeline
    plan = LoadPlan(torch.device("cpu"), torch.float32, plan="sequential")
    made = accelerate(pipeline, spec_of("flux", compile="regional"), settings, plan)
    assert made.compiled == "none"
    assert made.refused == ("compile regional is left out under offload sequential",)

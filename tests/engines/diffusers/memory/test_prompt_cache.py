"""Encodings of prompts that are kept: the same pictures to the bit, and no call of a text encoder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.memory.prompt_cache import PromptCache
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.loras.spellings import write_text_lora

FAMILIES = ("sd15", "sdxl", "sd35", "flux", "qwen-image", "sana")


def encoders_of(pipeline):
    parts = {name: part for name, part in pipeline.components.items() if name.startswith("text_encoder")}
    return [part for part in parts.values() if isinstance(part, torch.nn.Module)]


@pytest.fixture
def drawing(settings, built, spec_of, ask):
    """A function that draws with one engine, and returns the picture, and how often text encoders ran for it."""
    engines = {}

    def draw(family, *, most=2**20, **changes):
        engine = engines.setdefault(most, DiffusersEngine(dataclasses.replace(settings, prompt_cache_bytes=most)))
        spec, calls = spec_of(built(family)), []
        engine.load(spec, Recorder())
        encoders = encoders_of(engine._model_cache.get(spec).pipeline)
        hooks = [each.register_forward_hook(lambda *_: calls.append(1)) for each in encoders]
        made = engine.generate(spec, ask(num_inference_steps=2, **changes), Recorder())
        for hook in hooks:
            hook.remove()
        return made.images[0].pixels, len(calls), made.encodings

    return draw


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_used_again_is_not_encoded_again_and_changes_not_a_bit(drawing, family):
    _, first, counts = drawing(family, seed=1)
    assert first
    assert counts["computed"]
    assert not counts.get("reused")
    reused, again, counts = drawing(family, seed=2)
    assert again == 0
    assert counts["reused"]
    assert not counts.get("computed")
    without, encoded, counts = drawing(family, most=0, seed=2)
    assert encoded
    assert counts == {}
    assert np.array_equal(reused, without)


def test_prompts_with_weights_are_reused_too(drawing):
    how = {"prompt": "a (red:1.3) cat"}
    drawing("sd15", seed=1, **how)
    reused, calls, _ = drawing("sd15", seed=2, **how)
    assert calls == 0
    assert np.array_equal(reused, drawing("sd15", most=0, seed=2, **how)[0])
    literal, calls, _ = drawing("sd15", seed=2, prompt_weighting="off", **how)
    assert calls
    assert not np.array_equal(reused, literal)


@pytest.mark.parametrize("changes", [{"prompt": "a blue dog"}, {"negative_prompt": "fog"}, {"clip_skip": 1}])
def test_another_text_is_another_encoding(drawing, changes):
    drawing("sd15", guidance_scale=4.0)
    picture, calls, _ = drawing("sd15", guidance_scale=4.0, **changes)
    assert calls
    assert np.array_equal(picture, drawing("sd15", most=0, guidance_scale=4.0, **changes)[0])


def test_a_lora_on_a_text_encoder_has_encodings_of_its_own(settings, drawing, built, tmp_path, ask, spec_of):
    settings = dataclasses.replace(settings, loras_dir=tmp_path)
    write_text_lora(built("sd15"), "text_encoder", tmp_path / "words.safetensors", "peft")
    spec = spec_of(built("sd15"))

    def run(engine, *loras):
        request = ask(num_inference_steps=2, loras=[{"id": name, "scale": scale} for name, scale in loras])
        return engine.generate(spec, request, Recorder()).images[0].pixels

    engine = DiffusersEngine(settings)
    order = [(), (("words", 1.0),), (), (("words", 0.5),), (("words", 1.0),)]
    made = [run(engine, *loras) for loras in order]
    plain = DiffusersEngine(dataclasses.replace(settings, prompt_cache_bytes=0))
    assert all(np.array_equal(pixels, run(plain, *loras)) for pixels, loras in zip(made, order, strict=True))
    assert not np.array_equal(made[0], made[1])


def text_model(cache, tensor):
    """Answers of a pipeline whose encoding is `tensor`."""

    class Pipeline:
        def encode_prompt(self, prompt, device=None, image=None):
            return tensor, None

    pipeline = Pipeline()

    def ask(*arguments, **named):
        with cache.answering(pipeline):
            return pipeline.encode_prompt(*arguments, **named)[0]

    return ask


def test_what_a_pipeline_writes_into_an_encoding_is_not_kept():
    cache, original = PromptCache(1000), torch.ones(4)
    ask = text_model(cache, original.clone())
    ask("a")[:] = 5
    ask("a")[:] = 6
    assert torch.equal(ask("a"), original)


def test_the_least_recently_used_are_dropped_beyond_the_bytes():
    cache = PromptCache(3 * 16)
    ask = text_model(cache, torch.ones(4))
    for prompt in "abcad":
        ask(prompt)
    assert cache.bytes == 48
    cache.take_counts()
    for prompt in "acdb":
        ask(prompt)
    assert cache.take_counts() == {"reused": 3, "computed": 1}
    assert cache.take_counts() == {}


def test_what_is_larger_than_the_cache_is_not_kept():
    cache = PromptCache(15)
    text_model(cache, torch.ones(4))("a")
    assert cache.bytes == 0


@pytest.mark.parametrize("arguments", [("a", "cpu", torch.ones(1)), ("a", "cpu", object())])
def test_prompts_with_pictures_are_encoded_each_time(arguments):
    cache = PromptCache(1000)
    ask = text_model(cache, torch.ones(4))
    ask(*arguments)
    assert cache.bytes == 0
    assert cache.take_counts() == {}


def test_equal_numbers_of_other_types_are_other_arguments():
    cache = PromptCache(1000)
    ask = text_model(cache, torch.ones(4))
    ask("a", 1), ask("a", True), ask("a", device=1)
    assert cache.take_counts() == {"computed": 2, "reused": 1}


def test_the_pipeline_is_as_before_after_an_error():
    cache = PromptCache(1000)

    class Model:
        def encode_prompt(self, prompt):
            raise ValueError(prompt)

    pipeline = Model()
    with pytest.raises(ValueError), cache.answering(pipeline):
        pipeline.encode_prompt("a")
    assert vars(pipeline) == {}
    assert cache.bytes == 0

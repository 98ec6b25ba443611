"""Weights, long prompts, clip_skip and prompt_2 of Stable Diffusion and SDXL."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate
from app.errors import GenerationError
from tests.engines.diffusers.generate.control import Recorder
from tools.families_report import pictures_of, request_of, requested, spec_of

FAMILIES = ("sd15", "sdxl")
CLOSE = 1e-5
LONG = "a red boat on the blue sea, " * 12


@pytest.fixture(scope="module")
def engine(tiny):
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny))


@pytest.fixture
def draw(engine, built, monkeypatch):
    """The arguments of the call, its pictures before rounding, and the generation."""

    def run(family, prompt, **settings):
        seen, drawing = [], generate.draw

        def remember(pipeline, arguments, seeds, watch):
            drawn = drawing(pipeline, arguments, seeds, watch)
            seen.append((arguments, drawn.pictures))
            return drawn

        request = request_of(family, "txt2img", requested(family, "txt2img")).model_copy(
            update={"prompt": prompt, "guidance_scale": 4.0} | settings
        )
        with monkeypatch.context() as patched:
            patched.setattr(generate, "draw", remember)
            made = engine.generate(spec_of(family, built(family)), request, Recorder())
        return seen[0][0], seen[0][1][0], made

    return run


def pipeline_of(folder):
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("negative", [None, "grey fog"])
def test_weights_of_one_change_not_a_bit(draw, family, negative):
    arguments, plain, _ = draw(family, "a cat on a sofa", negative_prompt=negative)
    assert arguments["prompt"] == "a cat on a sofa"  # left to the pipeline
    arguments, weighed, _ = draw(family, "a (cat:1.0) on a sofa", negative_prompt=negative)
    assert "prompt" not in arguments
    assert np.array_equal(plain, weighed)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_scales_the_distance_to_an_empty_prompt(draw, built, family):
    arguments, _, _ = draw(family, "a (cat:1.5) on a sofa")
    pipeline = pipeline_of(built(family))
    with torch.inference_mode():
        how = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        plain, empty = (pipeline.encode_prompt(words, **how)[0] for words in ("a cat on a sofa", ""))
    count = len(pipeline.tokenizer("a", add_special_tokens=False).input_ids)
    length = len(pipeline.tokenizer(" cat", add_special_tokens=False).input_ids)
    weighed, where = arguments["prompt_embeds"], slice(1 + count, 1 + count + length)
    expected = plain.clone()
    expected[:, where] = empty[:, where] + 1.5 * (plain[:, where] - empty[:, where])
    assert torch.allclose(weighed, expected, atol=1e-5)
    assert not torch.allclose(weighed, plain, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_prompt_is_read_to_its_end(draw, family):
    arguments, one, made = draw(family, LONG + "and a castle")
    assert arguments["prompt_embeds"].shape[1] > 77
    assert arguments["prompt_embeds"].shape[1] % 77 == 0
    assert arguments["negative_prompt_embeds"].shape == arguments["prompt_embeds"].shape
    _, other, _ = draw(family, LONG + "and a flower")
    assert np.abs(one - other).max() > CLOSE
    assert not [warning for warning in made.warnings if "tokens" in warning]
    _, _, cut = draw(family, LONG + "and a castle", prompt_weighting="off")
    assert any("were read" in warning for warning in cut.warnings)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_break_begins_a_new_part(draw, family):
    arguments, _, _ = draw(family, "a cat BREAK a sofa")
    assert arguments["prompt_embeds"].shape[1] == 2 * 77


@pytest.mark.parametrize("family", FAMILIES)
def test_brackets_that_are_meant_as_such_lose_their_backslash(draw, family):
    arguments, escaped, _ = draw(family, r"a \(cat\)")
    assert "prompt_embeds" in arguments
    _, plain, _ = draw(family, "a (cat)", prompt_weighting="off")
    assert np.array_equal(escaped, plain)


def test_several_pictures_share_the_encoding(draw):
    _, _, made = draw("sd15", "a (cat:1.3)", num_images=2, seed=9)
    _, _, second = draw("sd15", "a (cat:1.3)", seed=10)
    assert np.array_equal(made.images[1].pixels, second.images[0].pixels)


def test_clip_skip_and_prompt_2_are_those_of_diffusers(draw, built):
    pipeline = pipeline_of(built("sdxl"))
    asked = requested("sdxl", "txt2img") | {"prompt": "a cat", "guidance_scale": 4.0}
    for settings in ({"clip_skip": 1}, {"prompt_2": "a drawing"}):
        with torch.inference_mode():
            output = pipeline(**asked, **settings, generator=torch.Generator("cpu").manual_seed(5), output_type="np")
        _, picture, _ = draw("sdxl", "a cat", **settings)
        assert np.abs(picture - pictures_of(output)[0]).max() <= CLOSE
        _, weighed, _ = draw("sdxl", "a (cat:1.0)", **settings)
        assert np.array_equal(picture, weighed)


def test_clip_skip_of_stable_diffusion_takes_an_earlier_layer(draw, built):
    """As diffusers defines it; its own code fails with transformers 5."""
    arguments, _, _ = draw("sd15", "a cat", clip_skip=1)
    pipeline = pipeline_of(built("sd15"))
    ids = pipeline.tokenizer("a cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.inference_mode():
        layers = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states
        expected = getattr(pipeline.text_encoder, "text_model", pipeline.text_encoder).final_layer_norm(layers[-2])
    assert torch.allclose(arguments["prompt_embeds"], expected, atol=1e-6)


def test_other_families_read_it_as_text_and_say_so(draw):
    arguments, _, made = draw("flux", "a (cat:1.5)", prompt_weighting="auto", clip_skip=1)
    assert arguments["prompt"] == "a (cat:1.5)"
    assert any("weights such as (cat:1.5)" in warning for warning in made.warnings)
    assert any("takes no clip_skip" in warning for warning in made.warnings)


def test_one_call_of_several_jobs_reads_none_of_them_in_part(engine, built):
    spec, request = spec_of("sd15", built("sd15")), request_of("sd15", "txt2img", requested("sd15", "txt2img"))
    engine.load(spec, Recorder())
    long = request.model_copy(update={"prompt": LONG})
    with pytest.raises(GenerationError, match="each runs alone"):
        engine.generate_merged(spec, [request, long], [Recorder(), Recorder()])

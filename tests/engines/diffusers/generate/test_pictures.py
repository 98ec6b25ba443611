"""The engine's output equals that of a plain diffusers script, whatever ran before."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline

from app.engines.diffusers.generate import generate
from tests.engines.diffusers.generate.control import Recorder

PLAIN_CLASSES = {"flux": FluxPipeline, "sd35": StableDiffusion3Pipeline}


def plain_script(folder, family, seeds, **settings):
    """Ten lines that a person would write: the picture of each seed, 0 to 1."""
    pipe = PLAIN_CLASSES[family].from_pretrained(folder / family, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pictures = {}
    for seed in seeds:
        generator = torch.Generator("cpu").manual_seed(seed)
        pictures[seed] = pipe(
            "a red cat under a tree", generator=generator, width=64, height=64, output_type="np", **settings
        ).images[0]
    return pictures


@pytest.fixture
def floats(monkeypatch):
    """The pictures that went through the engine, before rounding."""
    seen = []
    rounding = generate.to_pixels

    def remember(picture):
        seen.append(picture)
        return rounding(picture)

    monkeypatch.setattr(generate, "to_pixels", remember)
    return seen


def test_alternating_flux_and_sd35_equals_a_plain_script(tiny, engine, spec_of, ask, floats):
    settings = {"num_inference_steps": 3, "guidance_scale": 4.0}
    seeds = range(5)
    wanted = {family: plain_script(tiny, family, seeds, **settings) for family in PLAIN_CLASSES}
    for seed in seeds:
        for family in PLAIN_CLASSES:
            made = engine.generate(spec_of(family), ask(seed=seed, **settings), Recorder())
            assert np.abs(floats[-1] - wanted[family][seed]).max() <= 1e-5
            assert np.array_equal(made.images[0].pixels, (wanted[family][seed] * 255).round().astype(np.uint8))
    assert len(floats) == 10


def test_defaults_are_the_pipelines_own_and_are_recorded(tiny, engine, spec_of, ask, floats):
    pipe = FluxPipeline.from_pretrained(tiny / "flux", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    wanted = pipe(
        "a red cat under a tree", num_inference_steps=2, generator=torch.Generator().manual_seed(7), output_type="np"
    )
    made = engine.generate(
        spec_of("flux"), ask(num_inference_steps=2, width=None, height=None, guidance_scale=None), Recorder()
    )
    assert np.abs(floats[0] - wanted.images[0]).max() <= 1e-5
    assert made.effective["guidance_scale"] == 3.5
    assert made.effective["max_sequence_length"] == 512
    assert (made.effective["height"], made.effective["width"]) == made.images[0].pixels.shape[:2]


@pytest.mark.parametrize("repo", ["flux", "sd35", "sd15", "sdxl", "lcm", "sana", "sd15-single-file.safetensors"])
def test_every_family_draws_and_the_same_seed_gives_the_same_bytes(engine, spec_of, ask, repo):
    one, again, other = (
        engine.generate(spec_of(repo), ask(seed=seed), Recorder()).images[0].pixels for seed in (7, 7, 8)
    )
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8
    assert one.std() > 5
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_single_file_draws_what_its_folder_draws(engine, spec_of, ask):
    folder, file = (
        engine.generate(spec_of(repo), ask(), Recorder()) for repo in ("sd15", "sd15-single-file.safetensors")
    )
    assert np.array_equal(folder.images[0].pixels, file.images[0].pixels)
    assert folder.versions["pipeline"] == file.versions["pipeline"] == "StableDiffusionPipeline"


def test_several_pictures_are_the_single_ones_of_their_seeds(engine, spec_of, ask):
    control = Recorder()
    together = engine.generate(spec_of("sd35"), ask(num_images=3, seed=40), control)
    assert [image.seed for image in together.images] == [40, 41, 42]
    for image in together.images:
        alone = engine.generate(spec_of("sd35"), ask(seed=image.seed), Recorder())
        assert np.array_equal(image.pixels, alone.images[0].pixels)
    steps = [step for phase, step, total in control.reports if phase == "generating"]
    assert steps == sorted(steps)
    assert steps[-1] == 9


def test_phases_come_in_order_and_take_their_time(engine, spec_of, ask):
    control = Recorder()
    made = engine.generate(spec_of("flux"), ask(), control)
    assert control.phases() == ["loading_model", "encoding_prompt", "generating", "decoding"]
    assert ("generating", 2, 3) in control.reports
    assert set(made.timings) == {"loading_model", "encoding_prompt", "generating", "decoding"}
    assert all(seconds >= 0 for seconds in made.timings.values())
    warm = engine.generate(spec_of("flux"), ask(), Recorder())
    assert "loading_model" not in warm.timings


def test_the_manifest_names_libraries_classes_and_weights(engine, spec_of, ask, copy_of):
    made = engine.generate(spec_of("flux"), ask(), Recorder()).versions
    assert made["pipeline"] == "FluxPipeline"
    assert made["scheduler"] == "FlowMatchEulerDiscreteScheduler"
    assert (made["dtype"], made["attention"], made["device"]) == ("float32", "native", "cpu")
    assert made["torch"] == torch.__version__
    copied = engine.generate(spec_of(copy_of("flux")), ask(), Recorder()).versions
    assert copied["revision"] == made["revision"]
    assert made["revision"].startswith("sampled-sha256:")


def test_the_built_in_models_note_gives_the_length_it_was_trained_with(engine, spec_of, ask, copy_of):
    folder = copy_of("flux")
    (folder / "demo.json").write_text(json.dumps({"max_sequence_length": 48}))
    noted = engine.generate(spec_of(folder), ask(), Recorder())
    assert noted.effective["max_sequence_length"] == 48
    line = spec_of(folder, defaults={"max_sequence_length": 64})
    assert engine.generate(line, ask(), Recorder()).effective["max_sequence_length"] == 64


@pytest.mark.parametrize(
    ("repo", "changes", "warning"),
    [
        ("flux", {"negative_prompt": "dog"}, "no negative prompt"),
        ("sd15", {"negative_prompt": "dog", "guidance_scale": 1.0}, "guidance_scale above 1"),
        ("sd15", {"prompt": "abcdefghij " * 9, "prompt_weighting": "off"}, "only the first 77"),
        ("sd15", {"prompt": "abcdefghij " * 9}, None),  # it is read in parts
        ("flux", {"prompt": "abcdefghij " * 9}, None),  # its second encoder reads on
        ("sd15", {"negative_prompt": "dog"}, None),
    ],
)
def test_what_a_pipeline_cannot_use_is_said(engine, spec_of, ask, repo, changes, warning):
    warnings = engine.generate(spec_of(repo), ask(**changes), Recorder()).warnings
    assert [warning in text for text in warnings] == ([True] if warning else [])

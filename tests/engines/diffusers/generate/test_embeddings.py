"""Textual inversion: equal to diffusers' own loading, and nothing of it stays in tokenizer or encoder."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import EmbeddingIncompatible, EmbeddingUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.encoders import CLIP_WIDTH

SIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    torch.manual_seed(3)
    wide = [torch.randn(2, CLIP_WIDTH), torch.randn(2, CLIP_WIDTH)]
    save_file({"emb_params": wide[0]}, folder / "moody.safetensors")
    save_file({"<sunny>": torch.randn(CLIP_WIDTH)}, folder / "sunny.safetensors")
    save_file({"clip_l": wide[0], "clip_g": wide[1]}, folder / "grim.safetensors")
    save_file({"emb_params": torch.randn(1, CLIP_WIDTH + 1)}, folder / "wide.safetensors")
    return folder


@pytest.fixture(scope="module")
def drawing(tiny, folder):
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, embeddings_dir=folder))


def request_for(ask, prompt: str, *names: str, **changes):
    settings = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": SIDE, "height": SIDE}
    weighting = "auto" if names else None
    return ask(prompt=prompt, embeddings=names, prompt_weighting=weighting, **{**settings, **changes})


def by_a_script(pipe, prompt: str, **more) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    drawn = pipe(
        prompt,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=generator,
        output_type="np",
        **more,
    )
    return drawn.images[0]


@pytest.mark.parametrize("written", ["moody", "MOODY", "<moody>"])
def test_a_word_stands_for_its_vectors(tiny, folder, drawing, calls, spec_of, ask, written):
    plain = drawing.generate(spec_of("sd15"), request_for(ask, f"a {written} cat, red"), Recorder()).images[0].pixels
    calls.clear()
    made = drawing.generate(spec_of("sd15"), request_for(ask, f"a {written} cat, red", "moody"), Recorder())
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny / "sd15", safety_checker=None)
    pipe.load_textual_inversion(folder / "moody.safetensors", token="<moody>")
    wanted = by_a_script(pipe, "a <moody> cat, red")
    assert np.abs(calls[0][1][0] - wanted).max() <= 1e-5
    assert not np.array_equal(made.images[0].pixels, plain)
    assert [each["id"] for each in made.effective["embeddings"]] == ["moody"]
    again = drawing.generate(spec_of("sd15"), request_for(ask, f"a {written} cat, red"), Recorder()).images[0].pixels
    assert np.array_equal(again, plain)


def test_one_in_the_negative_prompt_and_one_vector_in_diffusers_format(tiny, folder, drawing, calls, spec_of, ask):
    request = request_for(ask, "a sunny cat", "sunny", "moody", negative_prompt="moody, dark")
    drawing.generate(spec_of("sd15"), request, Recorder())
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny / "sd15", safety_checker=None)
    pipe.load_textual_inversion(folder / "moody.safetensors", token="<moody>")
    pipe.load_textual_inversion(folder / "sunny.safetensors")
    wanted = by_a_script(pipe, "a <sunny> cat", negative_prompt="<moody>, dark")
    assert np.abs(calls[0][1][0] - wanted).max() <= 1e-5


def test_sdxl_has_one_matrix_for_each_encoder(tiny, folder, drawing, calls, spec_of, ask):
    drawing.generate(spec_of("sdxl"), request_for(ask, "a grim cat", "grim"), Recorder())
    from safetensors.torch import load_file

    tensors = load_file(folder / "grim.safetensors")
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny / "sdxl")
    for key, encoder, tokenizer in (
        ("clip_l", pipe.text_encoder, pipe.tokenizer),
        ("clip_g", pipe.text_encoder_2, pipe.tokenizer_2),
    ):
        pipe.load_textual_inversion(tensors[key], token="<grim>", text_encoder=encoder, tokenizer=tokenizer)
    assert np.abs(calls[0][1][0] - by_a_script(pipe, "a <grim> cat")).max() <= 1e-5


def test_a_weight_counts_for_its_vectors(drawing, spec_of, ask):
    drawn = [
        drawing.generate(spec_of("sd15"), request_for(ask, prompt, "moody"), Recorder()).images[0].pixels
        for prompt in ("a moody cat", "a (moody:1.4) cat", "a (moody:0) cat")
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("family", "name"), [("sd15", "grim"), ("sdxl", "moody"), ("sd15", "wide")])
def test_one_for_other_encoders_is_refused(drawing, spec_of, ask, family, name):
    with pytest.raises(EmbeddingIncompatible, match="does not fit"):
        drawing.generate(spec_of(family), request_for(ask, f"a {name} cat", name), Recorder())


def test_one_that_is_gone_or_not_finite_is_refused(tmp_path, drawing, spec_of, ask):
    engine = DiffusersEngine(replace(drawing._settings, embeddings_dir=tmp_path))
    with pytest.raises(EmbeddingUnavailable, match="no longer"):
        engine.generate(spec_of("sd15"), request_for(ask, "a moody cat", "moody"), Recorder())
    save_file({"emb_params": torch.full((1, CLIP_WIDTH), float("nan"))}, tmp_path / "moody.safetensors")
    with pytest.raises(EmbeddingIncompatible, match="not finite"):
        engine.generate(spec_of("sd15"), request_for(ask, "a moody cat", "moody"), Recorder())


def test_a_family_that_reads_none_says_so(drawing, spec_of, ask):
    made = drawing.generate(spec_of("flux"), request_for(ask, "a moody cat", "moody"), Recorder())
    assert "m reads no embeddings: moody is text for it." in made.warnings
    assert "embeddings" not in made.effective


def test_a_file_that_changed_is_read_anew(tmp_path, drawing, spec_of, ask):
    engine = DiffusersEngine(replace(drawing._settings, embeddings_dir=tmp_path))
    drawn = []
    for seed in (1, 2, 1):
        vectors = torch.randn(1, CLIP_WIDTH, generator=torch.Generator().manual_seed(seed))
        save_file({"emb_params": vectors}, tmp_path / "moody.safetensors")
        made = engine.generate(spec_of("sd15"), request_for(ask, "a moody cat", "moody"), Recorder())
        drawn.append(made.images[0].pixels)
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])

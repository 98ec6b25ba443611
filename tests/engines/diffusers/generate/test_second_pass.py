"""A second pass draws what a script with diffusers alone draws: txt2img, enlarge, img2img."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from app.config import ROOT
from app.core.builtin_models import LANCZOS_REPO
from app.core.inputs import InputRef
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.core.tiling import tiles_over
from app.engines.base import EngineSettings, PartlyDrawn
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_picture
from tools.tiny_models.auxiliaries import build_controlnet

SEED, CLOSE = 7, 1e-5  # of 0 to 1, before rounding
SECOND = {"factor": 1.5, "model": "lanczos", "steps": 4, "strength": 0.6}


@pytest.fixture(scope="module")
def engine(tiny, spec_of) -> DiffusersEngine:
    """One for all tests, so that a family is loaded once."""
    lanczos = spec_of(LANCZOS_REPO, kind="upscaler")
    settings = EngineSettings(root=tiny, model_cache_dir=tiny)
    return DiffusersEngine(dataclasses.replace(settings, upscaler_of=lambda name: lanczos))


def script(folder: Path, request: GenerationRequest, multiple_of: int) -> np.ndarray:
    """The picture, 0 to 1, by diffusers' own pipelines."""
    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    words = {"prompt": request.prompt, "output_type": "np"}
    first = pipeline(
        **words,
        num_inference_steps=request.num_inference_steps,
        width=request.width,
        height=request.height,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]
    small = Image.fromarray((first * 255).round().astype(np.uint8))
    size = [round(side * SECOND["factor"] / multiple_of) * multiple_of for side in small.size]
    over = diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
    over.set_progress_bar_config(disable=True)
    sized = {"width": size[0], "height": size[1]} if "flux" in folder.name or "sd35" in folder.name else {}
    return over(
        **words,
        **sized,
        image=small.resize(size, Image.Resampling.LANCZOS),
        strength=SECOND["strength"],
        num_inference_steps=SECOND["steps"],
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).images[0]


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd35", "flux"])
def test_it_draws_what_the_script_draws(engine, tiny, spec_of, ask, calls, family) -> None:
    spec = spec_of(tiny / family)
    request = ask(upscale=SECOND, seed=SEED)
    made = engine.generate(spec, request, Recorder())
    (_, _), (_, (drawn,)) = calls
    wanted = script(tiny / family, request, spec.limits.multiple_of)
    assert drawn.shape == wanted.shape == (96, 96, 3)
    assert np.abs(drawn - wanted).max() <= CLOSE
    assert (made.images[0].pixels == (wanted * 255).round().astype(np.uint8)).all()


LATENT = {"factor": 1.5, "steps": 4, "strength": 0.6}
TILED = {**SECOND, "factor": 2.0, "tile": 64}


def latent_script(folder: Path, request: GenerationRequest, mode: str) -> np.ndarray:
    """Latents of the first pass, enlarged by torch, as the start of img2img: as diffusers' pipelines take them."""
    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    seeded = {"generator": torch.Generator("cpu").manual_seed(request.seed), "prompt": request.prompt}
    sides = {"width": request.width, "height": request.height}
    steps = request.num_inference_steps
    latents = pipeline(**seeded, **sides, num_inference_steps=steps, output_type="latent").images
    if latents.ndim == 3:  # FLUX packs them
        latents = pipeline._unpack_latents(latents, request.height, request.width, pipeline.vae_scale_factor)
    side = latents.shape[-1] * 3 // 2
    larger = torch.nn.functional.interpolate(latents, size=(side, side), mode=mode)
    over = diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
    over.set_progress_bar_config(disable=True)
    sized = {"width": 96, "height": 96} if "flux" in folder.name or "sd35" in folder.name else {}
    if "flux" in folder.name:  # whose image processor takes latents for pixels
        over.image_processor.preprocess = lambda image, **_: image
    return over(
        prompt=request.prompt,
        **sized,
        image=larger,
        strength=LATENT["strength"],
        num_inference_steps=LATENT["steps"],
        generator=torch.Generator("cpu").manual_seed(request.seed),
        output_type="np",
    ).images[0]


@pytest.mark.parametrize(
    ("family", "model", "mode"),
    [
        ("sd15", "Latent", "bilinear"),
        ("sd15", "Latent (nearest)", "nearest"),
        ("sdxl", "Latent (bicubic)", "bicubic"),
        ("sd35", "Latent", "bilinear"),
        ("flux", "Latent (nearest-exact)", "nearest-exact"),
    ],
)
def test_latents_are_enlarged_as_a_script_does(engine, tiny, spec_of, ask, calls, family, model, mode) -> None:
    request = ask(upscale={**LATENT, "model": model}, seed=SEED)
    made = engine.generate(spec_of(tiny / family), request, Recorder())
    (_, (first,)), (_, (drawn,)) = calls
    wanted = latent_script(tiny / family, request, mode)
    assert first.shape == (64, 64, 3)
    assert drawn.shape == wanted.shape == (96, 96, 3)
    assert np.abs(drawn - wanted).max() <= CLOSE
    assert made.versions["second_pipeline"] != made.versions["pipeline"]
    vae = engine._resident(spec_of(tiny / family)).pipeline.vae
    assert {"encode", "decode"}.isdisjoint(vae.__dict__)  # both are the VAE's own again


def test_qwen_image_has_latents_with_a_frame(engine, tiny, built, spec_of, ask, calls) -> None:
    built("qwen-image")
    engine.generate(spec_of(tiny / "qwen-image"), ask(upscale={**LATENT, "model": "Latent"}), Recorder())
    assert [drawn.shape for _, (drawn,) in calls] == [(64, 64, 3), (96, 96, 3)]


def test_tiles_are_drawn_one_by_one_and_put_together(engine, tiny, spec_of, ask, calls) -> None:
    control, request = Recorder(), ask(upscale=TILED, seed=SEED)
    made = engine.generate(spec_of(tiny / "sd15"), request, control)
    boxes = tiles_over((128, 128), 64)
    assert len(boxes) == made.effective["tiles"] == 9
    assert [drawn.shape for _, (drawn,) in calls] == [(64, 64, 3)] * 10  # never more than a tile at once
    assert made.images[0].pixels.shape == (128, 128, 3)
    assert (made.images[0].seed, made.effective["seed"]) == (SEED, SEED)
    assert request.steps_run == made.effective["steps_run"] == 3 + 9 * 2
    steps = [step for phase, step, total in control.reports if phase is Phase.GENERATING]
    assert steps == sorted(steps)
    assert {total for phase, _, total in control.reports if phase is Phase.GENERATING} == {21}
    (_, _), (_, (corner,)), *_ = calls
    assert np.abs(made.images[0].pixels[:32, :32] - (corner[:32, :32] * 255).round()).max() <= 1
    again = engine.generate(spec_of(tiny / "sd15"), request, Recorder())
    assert np.array_equal(again.images[0].pixels, made.images[0].pixels)


def test_progress_counts_both_passes_of_all_pictures(engine, tiny, spec_of, ask) -> None:
    control = Recorder()
    request = ask(upscale=SECOND, num_images=2)
    made = engine.generate(spec_of(tiny / "sd15"), request, control)
    assert request.steps_run == 3 + 2
    steps = [(step, total) for phase, step, total in control.reports if phase is Phase.GENERATING]
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert {total for _, total in steps} == {10}
    assert steps[-1][0] == 10
    assert [image.seed for image in made.images] == [7, 8]
    assert made.effective["steps_run"] == 5
    assert (made.effective["first_width"], made.effective["width"]) == (64, 96)


def test_each_picture_is_that_of_its_seed_alone(engine, tiny, spec_of, ask) -> None:
    spec = spec_of(tiny / "sd15")
    both = engine.generate(spec, ask(upscale=SECOND, num_images=2), Recorder())
    alone = engine.generate(spec, ask(upscale=SECOND, seed=8), Recorder())
    assert (both.images[1].pixels == alone.images[0].pixels).all()


def test_pictures_that_were_finished_before_a_cancel_are_kept(engine, tiny, spec_of, ask) -> None:
    control = Recorder(cancel_at=7)  # of 10: in the first pass of the second picture
    with pytest.raises(PartlyDrawn) as stopped:
        engine.generate(spec_of(tiny / "sd15"), ask(upscale=SECOND, num_images=2), control)
    assert [image.seed for image in stopped.value.generation.images] == [7]


def test_an_upscaler_that_is_missing_fails_before_anything_is_drawn(tiny, spec_of, ask) -> None:
    settings = EngineSettings(root=tiny, model_cache_dir=tiny)
    missing = spec_of("nowhere/4x.safetensors", kind="upscaler")
    engine = DiffusersEngine(dataclasses.replace(settings, upscaler_of=lambda name: missing))
    control = Recorder()
    with pytest.raises(ModelUnavailable, match="is missing"):
        engine.generate(spec_of(tiny / "sd15"), ask(upscale=SECOND), control)
    assert Phase.GENERATING not in control.phases()


def test_weights_enlarge_between_the_passes(tiny, spec_of, ask) -> None:
    built_in = spec_of(ROOT / "builtin/upscaler/drawings-x2.safetensors", kind="upscaler")
    settings = EngineSettings(root=tiny, model_cache_dir=tiny)
    engine = DiffusersEngine(dataclasses.replace(settings, upscaler_of=lambda name: built_in))
    made = engine.generate(spec_of(tiny / "sd15"), ask(upscale=SECOND), Recorder())
    assert made.images[0].pixels.shape == (96, 96, 3)
    assert made.versions["upscaler_architecture"] == "RealESRGAN Compact"
    assert [model.model_id for model in engine.resident()] == [built_in.id, "sd15"]


def test_a_control_picture_leads_the_first_pass(tiny, spec_of, ask, calls, tmp_path) -> None:
    """The second pass draws over what the first one made, as a request of its own would."""
    net = spec_of(build_controlnet("sd15", tiny / "sd15", tmp_path / "net"), kind="controlnet")
    settings = EngineSettings(root=tiny, model_cache_dir=tiny, auxiliaries={net.id: net})
    engine = DiffusersEngine(
        dataclasses.replace(settings, upscaler_of=lambda name: spec_of(LANCZOS_REPO, kind="upscaler"))
    )
    spec, control = spec_of(tiny / "sd15"), {"ctrl": a_picture(64, 64)}
    pictures = (InputRef(role="control", sha256="0" * 64, width=64, height=64, model=net.id),)
    engine.generate(spec, ask(pictures=pictures, seed=SEED), Recorder(), control)
    engine.generate(spec, ask(pictures=pictures, seed=SEED, upscale=SECOND), Recorder(), control)
    engine.generate(spec, ask(seed=SEED, upscale=SECOND), Recorder())
    (_, (led,)), (_, (first,)), (_, (second,)), (_, (plain,)), _ = calls
    assert np.array_equal(led, first)
    assert not np.array_equal(first, plain)
    assert second.shape == (96, 96, 3)

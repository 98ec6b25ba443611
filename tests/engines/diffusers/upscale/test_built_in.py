"""The built-in upscaler is better than resampling, on drawings that its training never saw."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.config import ROOT
from app.core.builtin_models import BUILTIN_UPSCALER_ID
from app.core.catalog_lines import build_catalog
from app.core.tasks import UPSCALE
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from tests.engines.diffusers.generate.control import Recorder
from tools.demo_model.pictures import HELD_OUT_SEED
from tools.demo_model.upscaler import decoded, halved, painted, psnr

MOST_BYTES = 2_000_000
BETTER = 4.0  # dB


@pytest.fixture(scope="module")
def engine() -> DiffusersEngine:
    return DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT))


@pytest.fixture(scope="module")
def drawings() -> np.ndarray:
    return painted(384, 4, HELD_OUT_SEED + 70_000, held_out=True)


def figures(engine, ask, small: list[np.ndarray], drawings) -> tuple[float, float]:
    """Mean PSNR of the upscaler and of Lanczos."""
    spec = build_catalog({}, "demo").upscaler(BUILTIN_UPSCALER_ID)
    ours, lanczos = [], []
    for given, wanted in zip(small, drawings, strict=True):
        request = ask(task=UPSCALE, upscale={"factor": wanted.shape[0] / given.shape[0], "model": spec.id})
        made = engine.generate(spec, request, Recorder(), {"image": given}).images[0].pixels
        size = (wanted.shape[1], wanted.shape[0])
        ours.append(psnr(made, wanted))
        lanczos.append(psnr(np.asarray(Image.fromarray(given).resize(size, Image.Resampling.LANCZOS)), wanted))
    return float(np.mean(ours)), float(np.mean(lanczos))


def test_it_is_small() -> None:
    assert (ROOT / "builtin/upscaler/drawings-x2.safetensors").stat().st_size < MOST_BYTES


def test_twice(engine, ask, drawings) -> None:
    ours, lanczos = figures(engine, ask, [halved(each, 0) for each in drawings], drawings)
    assert ours > lanczos + BETTER, (ours, lanczos)


def test_four_times(engine, ask, drawings) -> None:
    ours, lanczos = figures(engine, ask, [halved(halved(each, 0), 0) for each in drawings], drawings)
    assert ours > lanczos + 2, (ours, lanczos)


def test_what_the_built_in_model_decodes(engine, ask, drawings) -> None:
    """The autoencoder's softness is in the picture, as it is in those that the model draws: edges become sharp, where
    they were lost they are guessed, and on the whole that costs nothing."""
    soft = decoded([halved(each, 0) for each in drawings], ROOT / "builtin" / "demo")
    ours, lanczos = figures(engine, ask, soft, drawings)
    assert ours > lanczos - 0.3, (ours, lanczos)

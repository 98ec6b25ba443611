"""The built-in control model draws along the edges of drawings that its training never saw."""

from __future__ import annotations

import numpy as np
import pytest

from app.config import ROOT
from app.core.builtin_models import BUILTIN_CONTROL_ID
from app.core.catalog_lines import build_catalog
from app.core.inputs import InputRef
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.files.control_pictures import canny
from tests.engines.diffusers.generate.control import Recorder
from tools.demo_model.control import agreement, held_out

SIDE = 256
MOST_BYTES = 2_000_000


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / "builtin/control").iterdir()) < MOST_BYTES


@pytest.fixture(scope="module")
def catalog():
    return build_catalog({}, "demo")


@pytest.fixture(scope="module")
def engine(catalog) -> DiffusersEngine:
    auxiliaries = {BUILTIN_CONTROL_ID: catalog.auxiliaries[BUILTIN_CONTROL_ID]}
    return DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, auxiliaries=auxiliaries))


def test_its_drawings_follow_the_edges(engine, catalog, ask) -> None:
    found: dict[float, list[float]] = {1.0: [], 0.0: []}
    for number in range(3):
        wanted, prompt = held_out(number)
        for weight, values in found.items():
            picture = InputRef(
                role="control", sha256="0" * 64, width=SIDE, height=SIDE, model=BUILTIN_CONTROL_ID, weight=weight
            )
            request = ask(
                prompt=prompt, width=SIDE, height=SIDE, num_inference_steps=12, guidance_scale=2.5, pictures=(picture,)
            )
            made = engine.generate(catalog.get("demo"), request, Recorder(), {"ctrl": wanted}).images[0].pixels
            values.append(agreement(canny(made)[..., 0] > 0, wanted[..., 0] > 0))
    with_edges, without = (float(np.mean(values)) for values in found.values())
    assert with_edges > 0.8
    assert with_edges > without + 0.2

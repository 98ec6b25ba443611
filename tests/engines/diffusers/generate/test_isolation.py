"""No control of one job gets into the next: whatever was drawn before, each job draws what it draws alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from app.core.builtin_models import LANCZOS_REPO
from app.core.catalog import ModelSpec
from app.core.inputs import InputRef
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_picture
from tools.tiny_models.auxiliaries import build_controlnet, build_ip_adapter, build_redux
from tools.tiny_models.encoders import CLIP_WIDTH
from tools.tiny_models.lora import make_lora

SIDE = 32
BASE = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": SIDE, "height": SIDE}
SECOND = {"factor": 2.0, "steps": 4, "strength": 0.6}


def ref(role: str, model: str | None = None, **more: Any) -> InputRef:
    return InputRef(role=role, sha256="0" * 64, width=SIDE, height=SIDE, model=model, **more)


EDGES, SECOND_NET = ref("control", "net", weight=0.7, processor="canny"), ref("control", "net", weight=0.4, end=0.5)
LOOK = ref("reference", "look", weight=0.6)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("sd15", {}),
    "control": ("sd15", {"pictures": (EDGES,)}),
    "controls": ("sd15", {"pictures": (EDGES, SECOND_NET)}),
    "adapter": ("sd15", {"pictures": (LOOK,)}),
    "both": ("sd15", {"pictures": (EDGES, LOOK)}),
    "lora": ("sd15", {"loras": ({"id": "warm", "scale": 1.0},)}),
    "lora and control": ("sd15", {"loras": ({"id": "warm", "scale": 0.5},), "pictures": (EDGES,)}),
    "embedding": ("sd15", {"prompt": "a cat <moody>", "embeddings": ("moody",), "prompt_weighting": "auto"}),
    "weights": ("sd15", {"prompt": "a (red:1.4) cat", "prompt_weighting": "auto"}),
    "clip skip": ("sd15", {"clip_skip": 1}),
    "scheduler": ("sd15", {"scheduler": "dpmpp_2m", "sigmas": "karras"}),
    "second pass": ("sd15", {"upscale": {**SECOND, "model": "lanczos"}}),
    "latents": ("sd15", {"upscale": {**SECOND, "model": "Latent"}}),
    "tiles": ("sd15", {"upscale": {**SECOND, "model": "lanczos", "tile": SIDE}}),
    "flux": ("flux", {}),
    "flux control": ("flux", {"pictures": (ref("control", "flux-net"),)}),
    "redux": ("flux", {"pictures": (ref("reference", "redux", weight=0.5),)}),
    "flux scheduler": ("flux", {"scheduler": "unipc", "shift": 3.0}),
}
Draw = Callable[[str, DiffusersEngine], bytes]


@pytest.fixture(scope="module")
def engine_settings(tiny, spec_of, tmp_path_factory) -> EngineSettings:
    folder: Path = tmp_path_factory.mktemp("controls")
    make_lora(tiny / "sd15", folder / "loras" / "warm.safetensors")
    (folder / "embeddings").mkdir()
    vectors = torch.randn(2, CLIP_WIDTH, generator=torch.Generator().manual_seed(3))
    save_file({"emb_params": vectors}, folder / "embeddings" / "moody.safetensors")
    ip = {"kind": "ip-adapter", "family": "sd15", "file": "adapter.safetensors", "image_encoder": "image_encoder"}
    auxiliaries = (
        spec_of(build_controlnet("sd15", tiny / "sd15", folder / "net"), kind="controlnet"),
        spec_of(build_controlnet("flux", tiny / "flux", folder / "flux-net"), kind="controlnet"),
        spec_of(build_ip_adapter("sd15", tiny / "sd15", folder / "look"), **ip),
        spec_of(build_redux(tiny / "flux", folder / "redux"), kind="redux"),
    )
    lanczos: ModelSpec = spec_of(LANCZOS_REPO, kind="upscaler")
    return EngineSettings(
        root=tiny,
        model_cache_dir=tiny,
        loras_dir=folder / "loras",
        embeddings_dir=folder / "embeddings",
        auxiliaries={each.id: each for each in auxiliaries},
        upscaler_of=lambda name: lanczos,
    )


@pytest.fixture(scope="module")
def draw(spec_of, ask) -> Draw:
    def pixels(kind: str, engine: DiffusersEngine) -> bytes:
        model, changes = KINDS[kind]
        request = ask(**{**BASE, **changes})
        sent = {slot: a_picture(SIDE, SIDE) for slot in request.slots}
        return engine.generate(spec_of(model), request, Recorder(), sent).images[0].pixels.tobytes()

    return pixels


@pytest.fixture(scope="module")
def alone(draw, engine_settings) -> dict[str, bytes]:
    """What each draws in an engine of its own."""
    return {kind: draw(kind, DiffusersEngine(engine_settings)) for kind in KINDS}


@pytest.fixture(scope="module")
def shared(engine_settings) -> DiffusersEngine:
    """One engine for all sequences, which keeps one model at a time."""
    return DiffusersEngine(dataclasses.replace(engine_settings, max_loaded_models=1))


def test_each_control_has_an_effect(alone) -> None:
    assert len(set(alone.values())) == len(KINDS)


OF_MODEL = {model: [kind for kind, (its, _) in KINDS.items() if its == model] for model in ("sd15", "flux")}


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=st.permutations(OF_MODEL["sd15"]),
    unloaded=st.sampled_from(["sd15", "net", "look", ""]),
    again=st.permutations(OF_MODEL["sd15"]).map(lambda kinds: kinds[:4]),
    other=st.permutations(OF_MODEL["flux"]),
)
def test_each_job_draws_what_it_draws_alone(first, unloaded, again, other, alone, shared, draw) -> None:
    """All kinds in any order while the model stays, then after one of the models was unloaded, then after a swap."""
    order = [*first, f"unload {unloaded}", *again, *other]
    for place, kind in enumerate(order):
        if kind in KINDS:
            assert draw(kind, shared) == alone[kind], order[: place + 1]
        else:
            shared.unload(unloaded)

"""Tiny checkpoints, built once per session, and engines that use them."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.catalog import ModelOptions, ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate, merged, preview
from tests.torch_threads import TORCH_THREADS
from tools.tiny_models.build import SINGLE_FILE, build
from tools.tiny_models.samples import BASIC

SpecMaker = Callable[..., ModelSpec]
RequestMaker = Callable[..., GenerationRequest]


@pytest.fixture(scope="session", autouse=True)
def _torch_threads():
    torch.set_num_threads(TORCH_THREADS)


@pytest.fixture(scope="session", autouse=True)
def _libraries_exempt_from_collection():
    """As in a worker that has imported them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_previews_by_the_clock(monkeypatch):
    """On a slow machine a preview would decode in the middle of tests that count or break decoding. Tests of previews
    set their own pace."""
    monkeypatch.setattr(preview, "FIRST_AFTER_SECONDS", float("inf"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with the usual tiny checkpoints, and the description that the single file needs beside it. Read only."""
    folder = tmp_path_factory.mktemp("tiny")
    for family in (*BASIC, SINGLE_FILE):
        build(family, folder)
    described = folder / "sd15-single-file"
    shutil.copytree(folder / "sd15", described, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.fixture(scope="session")
def built(tiny) -> Callable[[str], Path]:
    """The checkpoint of any family in tools/tiny_models/samples.py, in the folder `tiny`. Read only."""
    return lambda family: tiny / family if (tiny / family).exists() else build(family, tiny)


@pytest.fixture
def copy_of(tiny, tmp_path) -> Callable[[str], Path]:
    """A copy of a tiny checkpoint, to be damaged."""
    return lambda family: Path(shutil.copytree(tiny / family, tmp_path / f"{family}-copy"))


@pytest.fixture
def settings(tiny) -> EngineSettings:
    return EngineSettings(root=tiny, model_cache_dir=tiny)


@pytest.fixture
def engine(settings) -> DiffusersEngine:
    return DiffusersEngine(settings)


@pytest.fixture
def calls(monkeypatch) -> list[tuple[list[int], Any]]:
    """The seeds of every call of a pipeline, and its pictures before rounding."""
    seen = []
    drawing = generate.draw

    def remember(pipeline, arguments, seeds, watch):
        drawn = drawing(pipeline, arguments, seeds, watch)
        seen.append((list(seeds), drawn.pictures))
        return drawn

    for module in (generate, merged):
        monkeypatch.setattr(module, "draw", remember)
    return seen


@pytest.fixture(scope="session")
def spec_of() -> SpecMaker:
    """A local catalogue entry for a repo; further arguments are options."""

    def make(repo: str | Path, **options: object) -> ModelSpec:
        return ModelSpec(
            id=Path(repo).name.lower(),
            name=Path(repo).name,
            repo=str(repo),
            description="",
            source="local",
            options=ModelOptions.model_validate(options),
        )

    return make


@pytest.fixture(scope="session")
def ask() -> RequestMaker:
    """A small request; further arguments replace its fields."""

    def make(**changes: object) -> GenerationRequest:
        fields = {
            "model_id": "m",
            "prompt": "a red cat under a tree",
            "num_inference_steps": 3,
            "width": 64,
            "height": 64,
            "seed": 7,
        }
        return GenerationRequest.model_validate(fields | changes)

    return make

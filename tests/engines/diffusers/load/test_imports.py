"""Which classes are imported before a model's first job."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.engines.base import EngineSettings
from app.engines.diffusers.load import imports

INDEX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.42.1",
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": [None, None],
    "feature_extractor": ["os", "system"],
    "custom": ["pipeline", "Own"],
}
WANTED = ["diffusers.FluxPipeline", "diffusers.FluxTransformer2DModel", "transformers.CLIPTextModel"]


class Library(SimpleNamespace):
    def __init__(self, name: str, asked: list[str]) -> None:
        super().__init__(name=name, asked=asked)

    def __getattr__(self, name: str) -> None:
        self.asked.append(f"{self.name}.{name}")


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(importlib, "import_module", lambda name: Library(name, found))
    return found


def spec_of(repo: str, source: str, **options: Any) -> ModelSpec:
    return parse_model_line(f"m;{repo};M;{source};false;{json.dumps(options)}")


def test_those_of_a_local_folder(tmp_path: Path, imported: list[str]) -> None:
    (tmp_path / "painter").mkdir()
    (tmp_path / "painter" / "model_index.json").write_text(json.dumps(INDEX))
    imports.import_classes(spec_of("painter", "local"), EngineSettings(tmp_path, tmp_path))
    assert imported == WANTED


def test_those_of_a_downloaded_repository(tmp_path: Path, imported: list[str], monkeypatch) -> None:
    monkeypatch.setattr(imports, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--studio--painter" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    imports.import_classes(spec_of("studio/painter", "huggingface"), EngineSettings(tmp_path, tmp_path))
    assert imported == WANTED


def test_those_of_the_base_and_the_line_s_own_pipeline(tmp_path: Path, imported: list[str]) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model_index.json").write_text(json.dumps(INDEX))
    spec = spec_of("denoiser.safetensors", "local", base="base", pipeline_class="FluxImg2ImgPipeline")
    imports.import_classes(spec, EngineSettings(tmp_path, tmp_path))
    assert imported == ["diffusers.FluxImg2ImgPipeline", *WANTED[1:]]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"_class_name": ["code", "Own"], "vae": "x"}'])
def test_an_index_that_tells_nothing(tmp_path: Path, imported: list[str], content: str | None) -> None:
    (tmp_path / "painter").mkdir()
    if content is not None:
        (tmp_path / "painter" / "model_index.json").write_text(content)
    imports.import_classes(spec_of("painter", "local"), EngineSettings(tmp_path, tmp_path))
    assert not imported


def test_a_class_that_fails_to_import_is_left_to_the_load(tmp_path: Path, monkeypatch, caplog) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"{name} is broken")

    monkeypatch.setattr(importlib, "import_module", fail)
    (tmp_path / "painter").mkdir()
    (tmp_path / "painter" / "model_index.json").write_text(json.dumps(INDEX))
    caplog.set_level("INFO")
    imports.import_classes(spec_of("painter", "local"), EngineSettings(tmp_path, tmp_path))
    assert "diffusers is broken" in caplog.text

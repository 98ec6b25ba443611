"""Where the weights of an upscaler are found, and which file of a repository is taken."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.core.job import Phase
from app.engines.base import EngineSettings
from app.engines.diffusers.upscale import files
from app.engines.diffusers.upscale.files import locate_upscaler
from app.errors import LoraUnavailable, ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder


def line(repo: str, source: str = "huggingface", more: str = "") -> ModelSpec:
    return parse_model_line(f'up;{repo};x;{source};false;{{"kind": "upscaler"{more}}}')


@pytest.fixture
def settings(tmp_path) -> EngineSettings:
    return EngineSettings(root=tmp_path / "code", model_cache_dir=tmp_path / "models")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub whose one repository has the files that are named; what was fetched."""
    fetched: list[tuple[str, str]] = []

    def make(*names: str) -> list[tuple[str, str]]:
        listed = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])
        monkeypatch.setattr(files, "HfApi", lambda: SimpleNamespace(model_info=lambda repo: listed))
        return fetched

    def fetch(repo, name, control, floor, most):
        fetched.append((repo, name))
        return tmp_path / name

    monkeypatch.setattr(files, "fetch_file", fetch)
    monkeypatch.setattr(files, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return make


def test_a_file_here(settings) -> None:
    settings.model_cache_dir.mkdir()
    (settings.model_cache_dir / "sharp.safetensors").touch()
    found = locate_upscaler(line("sharp.safetensors", "local"), settings, Recorder())
    assert found == settings.model_cache_dir / "sharp.safetensors"


def test_the_only_file_of_a_repository(hub, settings, tmp_path) -> None:
    fetched, control = hub("README.md", "4x.pth", "4x.safetensors"), Recorder()
    assert locate_upscaler(line("owner/up"), settings, control) == tmp_path / "4x.safetensors"
    assert fetched == [("owner/up", "4x.safetensors")]
    assert control.phases() == [Phase.DOWNLOADING]


def test_a_named_file_of_a_repository(hub, settings) -> None:
    fetched = hub("2x.safetensors", "4x.safetensors")
    with pytest.raises(ModelUnavailable, match=r'"file": "2x\.safetensors"'):
        locate_upscaler(line("owner/up"), settings, Recorder())
    locate_upscaler(line("owner/up", more=', "file": "4x.safetensors"'), settings, Recorder())
    assert fetched == [("owner/up", "4x.safetensors")]


def test_pickles_are_not_fetched(hub, settings) -> None:
    fetched = hub("4x.pth")
    with pytest.raises(ModelUnavailable, match="never loaded"):
        locate_upscaler(line("owner/up"), settings, Recorder())
    assert fetched == []


def test_one_that_was_fetched_needs_no_network(hub, settings, tmp_path) -> None:
    kept = tmp_path / "hub" / "models--owner--up" / "snapshots" / "c0ffee" / "4x.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert locate_upscaler(line("owner/up"), settings, Recorder()) == Path(kept)


def test_one_that_is_too_large(hub, settings, monkeypatch) -> None:
    def too_large(*_):
        raise LoraUnavailable("x")

    hub("4x.safetensors")
    monkeypatch.setattr(files, "fetch_file", too_large)
    with pytest.raises(ModelUnavailable, match="has more than"):
        locate_upscaler(line("owner/up"), settings, Recorder())

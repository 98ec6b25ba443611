"""Model files in unusual forms: linked, with uppercase suffixes, in one variant only, under ~."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from app.config import Settings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import quantization
from app.engines.diffusers.load.weights import with_lowercase_suffix
from app.errors import ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def draw(engine, spec_of, ask):
    return lambda repo, **options: engine.generate(spec_of(repo, **options), ask(), Recorder())


def in_variant(folder, variant, *parts, keep=False):
    """Rename the weights of `parts` (all without names), or `keep` them and add others of random numbers' variant."""
    for file in list(folder.rglob("*.safetensors")):
        if parts and file.parent.name not in parts:
            continue
        named = file.with_name(file.name.replace(".safetensors", f".{variant}.safetensors"))
        shutil.copy(file, named) if keep else file.rename(named)


def in_shards(folder, variant):
    """Split the UNet's weights in two files of `variant`, with their index."""
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = sorted(load_file(file).items())
    file.unlink()
    shards = {
        f"diffusion_pytorch_model.{variant}-00001-of-00002.safetensors": dict(tensors[::2]),
        f"diffusion_pytorch_model.{variant}-00002-of-00002.safetensors": dict(tensors[1::2]),
    }
    for name, part in shards.items():
        save_file(part, file.with_name(name), {"format": "pt"})
    index = {"metadata": {}, "weight_map": {tensor: name for name, part in shards.items() for tensor in part}}
    file.with_name(f"diffusion_pytorch_model.safetensors.index.{variant}.json").write_text(json.dumps(index))


def test_weights_that_are_there_in_one_variant_only_are_taken(draw, copy_of):
    plain = draw("sd15").images[0].pixels
    folder = copy_of("sd15")
    in_variant(folder, "fp16")
    assert np.array_equal(draw(folder).images[0].pixels, plain)


def test_one_part_with_a_variant_only_is_enough_and_shards_count(draw, copy_of):
    plain = draw("sd15").images[0].pixels
    folder = copy_of("sd15")
    in_variant(folder, "fp16", "text_encoder")
    in_shards(folder, "fp16")
    assert np.array_equal(draw(folder).images[0].pixels, plain)


def test_a_shard_of_a_variant_that_is_missing_is_named(draw, copy_of):
    folder = copy_of("sd15")
    in_shards(folder, "fp16")
    (folder / "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"fp16-00002-of-00002\.safetensors is missing"):
        draw(folder)


def test_plain_weights_win_where_all_parts_have_some(draw, copy_of):
    folder = copy_of("sd15")
    in_variant(folder, "fp16", keep=True)
    for file in folder.rglob("*.fp16.safetensors"):
        file.write_bytes(b"damaged")
    assert draw(folder).images[0].pixels.std() > 5


def test_several_variants_are_named_when_one_must_be_chosen(draw, copy_of):
    folder = copy_of("sd15")
    in_variant(folder, "fp16")
    in_variant(folder, "ema", "unet", keep=True)
    for file in (folder / "unet").glob("*.fp16.ema.safetensors"):
        file.rename(file.with_name("diffusion_pytorch_model.ema.safetensors"))
    assert draw(folder).images[0].pixels.std() > 5  # the one that all parts have
    in_variant(folder, "x", "vae", keep=False)
    file = next((folder / "vae").glob("*.safetensors"))
    file.rename(file.with_name("diffusion_pytorch_model.bf16.safetensors"))
    with pytest.raises(ModelUnavailable, match=r"variants \(bf16, ema, fp16\)\. Choose one by the option variant"):
        draw(folder, revision="again")


def test_an_uppercase_suffix_in_a_folder_is_an_error(draw, copy_of):
    folder = copy_of("sd15")
    file = next((folder / "vae").glob("*.safetensors"))
    file.rename(file.with_suffix(".SAFETENSORS"))
    with pytest.raises(ModelUnavailable, match=r"must end in lowercase \.safetensors\. Rename it"):
        draw(folder)


def test_a_single_file_in_capitals_and_behind_a_link(draw, tiny, tmp_path):
    plain = draw("sd15-single-file.safetensors").images[0].pixels
    (tmp_path / "UPPER.SAFETENSORS").symlink_to(tiny / "sd15-single-file.safetensors")
    (tmp_path / "UPPER").symlink_to(tiny / "sd15-single-file")
    assert np.array_equal(draw(tmp_path / "UPPER.SAFETENSORS").images[0].pixels, plain)
    (tmp_path / "OLD.CKPT").write_bytes(b"x")
    with pytest.raises(ModelUnavailable, match="is a pickle"):
        draw(tmp_path / "OLD.CKPT")


def test_a_folder_whose_files_are_links(draw, tiny, tmp_path):
    folder = tmp_path / "linked"
    for file in (tiny / "sd15").rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(tiny / "sd15")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    (tmp_path / "whole").symlink_to(folder)
    assert np.array_equal(draw(tmp_path / "whole").images[0].pixels, draw("sd15").images[0].pixels)


def test_a_broken_link_is_an_error(draw, tmp_path):
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelUnavailable, match=r"lost is a broken link\. Correct the link"):
        draw(tmp_path / "lost")


def test_the_home_folder_and_the_model_cache_are_looked_in_by_all(tiny, spec_of, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny))
    engine = DiffusersEngine(dataclasses.replace(settings, root=tmp_path))
    engine.load(spec_of("~/sd15"), Recorder())
    api = Settings(model_cache_dir=tiny)
    assert api.local_path("~/sd15") == tiny / "sd15"
    assert api.local_path("sd15") == tiny / "sd15"
    assert os.fspath(api.local_path("nowhere")).endswith("/nowhere")


def test_a_gguf_file_in_capitals_is_looked_at_and_handed_on_in_small_letters(engine, spec_of, tmp_path, monkeypatch):
    file = tmp_path / "UNET.GGUF"
    file.write_bytes(b"GGUF and more")
    with with_lowercase_suffix(file) as small:
        assert (small.name, small.read_bytes()) == ("UNET.gguf", file.read_bytes())
    with with_lowercase_suffix(small) as same:
        assert same == small
    file.write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(quantization, "_require_package", lambda *_: None)
    with pytest.raises(ModelUnavailable, match=r"UNET\.GGUF cannot be used: it is not a GGUF file"):
        engine.load(spec_of("flux", gguf=str(file)), Recorder())

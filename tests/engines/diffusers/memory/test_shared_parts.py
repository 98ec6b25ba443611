"""Two checkpoints with equal parts share them in memory, and each produces the same images as alone."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import digests
from app.engines.diffusers.load.digests import Digests, Stamp
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

COMMON = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae")


@pytest.fixture
def other(tiny, tmp_path):
    """A FLUX checkpoint that differs from the tiny one in its transformer only."""
    folder = tmp_path / "other-flux"
    shutil.copytree(tiny / "flux", folder)
    change(folder / "transformer")
    return folder


def change(part, by=0.01):
    """Another training: every number is another one, the sizes are the same."""
    file = next(part.glob("*.safetensors"))
    save_file({name: tensor + by for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})


@pytest.fixture
def draw(engine, ask):
    def one(spec, where=engine, **asked):
        return where.generate(spec, ask(**asked), Recorder()).images[0].pixels

    return one


@pytest.fixture
def pipeline(engine):
    return lambda spec: engine._model_cache.get(spec).pipeline


def common(one, two):
    """The names of the parts that two pipelines have in common, and that are not None."""
    return {name for name, part in one.components.items() if part is not None and two.components[name] is part}


def test_equal_parts_are_the_same_objects_and_the_pictures_are_those_of_each_alone(
    engine, settings, spec_of, other, draw, pipeline
):
    flux, second = spec_of("flux"), spec_of(other)
    alone = draw(second, DiffusersEngine(settings))
    first = draw(flux)
    assert not np.array_equal(first, alone)
    assert np.array_equal(draw(second), alone)
    assert common(pipeline(flux), pipeline(second)) == set(COMMON)
    assert np.array_equal(draw(flux), first)
    assert np.array_equal(draw(second), alone)


@pytest.mark.parametrize("leaves", [0, 1])
def test_unloading_one_does_not_affect_the_other(engine, spec_of, other, draw, leaves):
    specs = [spec_of("flux"), spec_of(other)]
    pictures = [draw(spec) for spec in specs]
    stays = 1 - leaves
    engine.unload(specs[leaves].id)
    assert np.array_equal(draw(specs[stays]), pictures[stays])
    assert np.array_equal(draw(specs[leaves]), pictures[leaves])


def test_shared_parts_are_counted_once(engine, spec_of, other, pipeline):
    flux, second = spec_of("flux"), spec_of(other)
    engine.load(second, Recorder())
    alone = engine.resident()[0].host_bytes
    engine.load(flux, Recorder())
    shares = {model.model_id: model for model in engine.resident()}
    transformer = sum(tensor.nbytes for tensor in pipeline(flux).transformer.state_dict().values())
    assert shares[second.id].host_bytes == alone
    assert shares["flux"].host_bytes == pytest.approx(transformer, rel=0.01)
    assert shares["flux"].host_bytes + shares["flux"].shared_bytes == alone
    engine.load(second, Recorder())  # used last: the order changes, the account does not
    assert {model.model_id: model for model in engine.resident()} == shares
    engine.unload(second.id)
    assert [(model.host_bytes, model.shared_bytes) for model in engine.resident()] == [(alone, 0)]


def test_only_what_is_not_there_yet_needs_room(engine, spec_of, other, monkeypatch):
    asked = []
    monkeypatch.setattr(engine._model_cache, "make_room", lambda _, needed, *__, **___: asked.append(needed) or 10**12)
    for spec in (spec_of("flux"), spec_of(other)):
        engine.load(spec, Recorder())
    weights = engine._model_cache.get(spec_of(other)).checkpoint.weights
    common = sum(weights[part].bytes_at(4) for part in COMMON if part in weights)
    assert asked[0] - asked[1] == pytest.approx(common * 1.05, abs=2)


def test_the_source_may_be_evicted_and_its_parts_stay(engine, settings, spec_of, other, draw):
    one_place = DiffusersEngine(dataclasses.replace(settings, max_loaded_models=1))
    alone = draw(spec_of(other))
    draw(spec_of("flux"), one_place)
    assert np.array_equal(draw(spec_of(other), one_place), alone)
    assert [model.model_id for model in one_place.resident()] == [spec_of(other).id]


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2", "vae"])
def test_one_byte_that_differs_is_not_shared(engine, settings, spec_of, other, draw, pipeline, part):
    file = next((other / part).glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-2] ^= 0x40
    file.write_bytes(content)
    flux, second = spec_of("flux"), spec_of(other)
    alone = draw(second, DiffusersEngine(settings))
    draw(flux)
    assert np.array_equal(draw(second), alone)
    assert common(pipeline(flux), pipeline(second)) == set(COMMON) - {part}


def test_one_byte_far_from_all_samples_is_seen(engine, spec_of, other, monkeypatch, pipeline):
    """What the quick look takes for equal is compared to the last byte."""
    monkeypatch.setattr("app.engines.diffusers.memory.shared_parts.fingerprint", lambda *_: "the same")
    change(other / "vae")
    flux, second = spec_of("flux"), spec_of(other)
    engine.load(flux, Recorder())
    engine.load(second, Recorder())
    assert common(pipeline(flux), pipeline(second)) == set(COMMON) - {"vae"}


def test_a_tokenizer_with_another_word_is_not_shared(engine, spec_of, other, pipeline):
    file = other / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 40}))
    flux, second = spec_of("flux"), spec_of(other)
    engine.load(flux, Recorder())
    engine.load(second, Recorder())
    assert common(pipeline(flux), pipeline(second)) == set(COMMON) - {"tokenizer"}


def test_a_config_that_works_otherwise_is_not_shared_and_where_it_came_from_does_not_matter(
    engine, spec_of, other, pipeline
):
    vae, clip = other / "vae" / "config.json", other / "text_encoder" / "config.json"
    vae.write_text(json.dumps(json.loads(vae.read_text()) | {"scaling_factor": 0.5}))
    clip.write_text(json.dumps(json.loads(clip.read_text()) | {"_name_or_path": "elsewhere", "dtype": "float16"}))
    flux, second = spec_of("flux"), spec_of(other)
    engine.load(flux, Recorder())
    engine.load(second, Recorder())
    assert common(pipeline(flux), pipeline(second)) == set(COMMON) - {"vae"}


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}])
def test_another_precision_is_not_shared(engine, spec_of, other, pipeline, options):
    flux, second = spec_of("flux"), spec_of(other, **options)
    engine.load(flux, Recorder())
    engine.load(second, Recorder())
    assert common(pipeline(flux), pipeline(second)) == set()


def test_what_changed_on_the_disk_since_it_was_loaded_is_not_shared(
    engine, spec_of, other, copy_of, pipeline, monkeypatch
):
    monkeypatch.setattr(
        "app.engines.diffusers.memory.shared_parts.fingerprint", lambda *_: "the same"
    )  # it was elsewhere
    copy = copy_of("flux")
    first, second = spec_of(copy), spec_of(other)
    engine.load(first, Recorder())
    for folder in (copy, other):
        change(folder / "vae")
    engine.load(second, Recorder())
    assert common(pipeline(first), pipeline(second)) == set(COMMON) - {"vae"}


def test_offloaded_parts_are_not_given_away(engine, spec_of, other, pipeline):
    flux, second = spec_of("flux"), spec_of(other)
    engine.load(flux, Recorder())
    model = engine._model_cache.get(flux)
    engine._model_cache.add(dataclasses.replace(model, load_plan=dataclasses.replace(model.load_plan, plan="model")))
    engine.load(second, Recorder())
    assert common(pipeline(flux), pipeline(second)) == set()


def test_a_lora_on_a_shared_text_encoder_leaves_nothing_to_the_other(engine, settings, spec_of, ask, tiny, tmp_path):
    """SD 1.5, whose LoRAs change the text encoder too."""
    folder = tmp_path / "other-sd15"
    shutil.copytree(tiny / "sd15", folder)
    change(folder / "unet")
    loras = tmp_path / "loras"
    loras.mkdir()
    make_lora(tiny / "sd15", loras / "style.safetensors", strength=3.0, text_encoder=True)
    engine = DiffusersEngine(dataclasses.replace(settings, loras_dir=loras))

    def draw(spec, **asked):
        return engine.generate(spec, ask(**asked), Recorder()).images[0].pixels

    sd15, second = spec_of("sd15"), spec_of(folder)
    alone = draw(second)
    engine.unload(second.id)
    draw(sd15)
    with_lora = draw(sd15, loras=[{"id": "style"}])
    assert np.array_equal(draw(second), alone)
    assert engine._model_cache.get(sd15).pipeline.text_encoder is engine._model_cache.get(second).pipeline.text_encoder
    assert np.array_equal(draw(sd15, loras=[{"id": "style"}]), with_lora)
    assert np.array_equal(draw(second), alone)
    assert not np.array_equal(draw(second, loras=[{"id": "style"}]), alone)
    assert np.array_equal(draw(second), alone)


def test_a_file_is_hashed_once_and_again_when_it_changed(tmp_path, monkeypatch):
    file, cache = tmp_path / "a.safetensors", tmp_path / "digests.json"
    file.write_bytes(b"one")
    digest = Digests(cache).of(Stamp.of(file))
    assert digest == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    real = digests.hashlib.file_digest
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("it was read again"))
    assert Digests(cache).of(Stamp.of(file)) == digest  # by another process, too
    monkeypatch.setattr(digests.hashlib, "file_digest", real)
    file.write_bytes(b"two!")
    assert Digests(cache).of(Stamp.of(file)) != digest


@pytest.mark.parametrize("damage", ["{", "[1]", '{"a": 1}'])
def test_a_damaged_cache_file_is_replaced(tmp_path, damage):
    file, cache = tmp_path / "a.safetensors", tmp_path / "digests.json"
    file.write_bytes(b"one")
    cache.write_text(damage)
    assert Digests(cache).of(Stamp.of(file)).startswith("7692c3ad")
    assert json.loads(cache.read_text())


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"one")
    assert Digests(tmp_path / "not there" / "digests.json").of(Stamp.of(file)).startswith("7692c3ad")

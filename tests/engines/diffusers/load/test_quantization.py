"""Compressed weights: layer-wise casting, quantisation while loading, GGUF files.

Tests of a package that is not installed are skipped; then its error message is tested.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util

import diffusers
import gguf
import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError
from safetensors.torch import load_file

from app.core.catalog import ModelOptions
from app.core.memory_forms import Machine, possible_plans
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import quantization
from app.engines.diffusers.load.checkpoint import inspect_folder
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.quantization import Compression, choose_compression, quantization_config
from app.engines.diffusers.load.weights import fingerprint
from app.engines.diffusers.memory.memory import part_bytes
from app.engines.diffusers.memory.part_shapes import part_shapes
from app.errors import LoraIncompatible, ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


def needs_package(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture
def draw(engine, ask):
    def one(spec, where=engine, **asked):
        return where.generate(spec, ask(**asked), Recorder())

    return one


@pytest.fixture
def pipeline(engine):
    return lambda spec: engine._model_cache.get(spec).pipeline


def distance(one, other):
    return np.abs(one.images[0].pixels.astype(int) - other.images[0].pixels).mean()


@pytest.mark.parametrize("family", ["flux", "sd35", "sdxl", "sd15", "sana"])
def test_cast_layers_are_stored_in_eight_bits_and_draw_nearly_the_same(engine, spec_of, draw, pipeline, family):
    plain = draw(spec_of(family))
    spec = spec_of(family, layerwise_casting=True)
    made = draw(spec)
    denoiser = getattr(pipeline(spec), "transformer", None) or pipeline(spec).unet
    stored = {parameter.dtype for parameter in denoiser.parameters()}
    assert torch.float8_e4m3fn in stored
    assert 0 < distance(made, plain) < 12
    name = "transformer" if hasattr(pipeline(spec), "transformer") else "unet"
    assert made.versions["weights"] == f"{name} in float8"
    assert np.array_equal(draw(spec).images[0].pixels, made.images[0].pixels)


def test_a_lora_works_on_cast_layers(settings, spec_of, draw, tiny, tmp_path):
    make_lora(tiny / "flux", tmp_path / "style.safetensors", strength=2.0)
    engine = DiffusersEngine(dataclasses.replace(settings, loras_dir=tmp_path))
    cast, style = spec_of("flux", layerwise_casting=True), [{"id": "style"}]
    before = draw(cast, engine)
    applied = draw(cast, engine, loras=style)
    assert distance(applied, before) > 1
    assert distance(draw(cast, engine), before) == 0
    assert distance(draw(spec_of("flux"), engine, loras=style), applied) < distance(applied, before)


def test_the_estimate_knows_how_weights_are_kept(tiny):
    checkpoint = inspect_folder(tiny / "flux", None)
    parts = {part.name: part for part in part_shapes(checkpoint, LoadPlan(GPU, torch.bfloat16))}
    for part in parts.values():
        full = part.bytes_of("full")
        assert full == 2 * checkpoint.weights[part.name].resized
        assert part.bytes_of("float8") == full - part.castable
        assert part.bytes_of("bitsandbytes-4bit") == pytest.approx(full - (2 - 0.57) * part.castable, abs=2)
    assert parts["transformer"].castable > 0.9 * parts["transformer"].numbers


def test_a_part_kept_otherwise_is_not_shared_and_the_others_are(engine, spec_of, copy_of):
    cast = spec_of(copy_of("flux"), layerwise_casting=True)
    engine.load(spec_of("flux"), Recorder())
    engine.load(cast, Recorder())
    one, other = (engine._model_cache.get(spec).pipeline for spec in (spec_of("flux"), cast))
    assert one.vae is other.vae
    assert one.transformer is not other.transformer
    plain, kept = (
        LoadPlan(CPU, torch.float32),
        Compression("torchao-int8", ("text_encoder_2",), denoiser="transformer"),
    )
    quantized = dataclasses.replace(plain, compression=kept)
    assert plain.use("vae") == quantized.use("vae")
    assert plain.use("text_encoder_2") != quantized.use("text_encoder_2")


def test_which_placements_go_with_which_way(tiny):
    cast, bits = Compression(cast=("transformer",)), Compression("bitsandbytes-4bit", ("transformer",))
    assert possible_plans(Machine(), cast.kinds) == ("none", "model", "group")
    assert possible_plans(Machine(), bits.kinds) == ("none", "model")
    assert LoadPlan(GPU, torch.bfloat16, compression=cast).parkable
    assert not LoadPlan(GPU, torch.bfloat16, compression=bits).parkable


@pytest.mark.parametrize(
    "options",
    [
        {"quantization": "torchao-int8", "layerwise_casting": True},
        {"quantization": "torchao-int8", "gguf": "a.gguf"},
        {"gguf": "a.gguf", "layerwise_casting": True},
        {"quantized_parts": ["transformer"]},
        {"quantization": "guess"},
        {"gguf": "a.safetensors"},
    ],
)
def test_options_that_contradict_each_other_are_refused_in_the_line(options):
    with pytest.raises(ValidationError):
        ModelOptions.model_validate(options)


@pytest.mark.parametrize(
    ("options", "package"),
    [
        ({"quantization": "torchao-int8"}, "torchao"),
        ({"quantization": "torchao-float8"}, "torchao"),
        ({"quantization": "torchao-int8-dynamic"}, "torchao"),
        ({"gguf": "a.gguf"}, "gguf"),
    ],
)
def test_a_package_that_is_missing_is_named_before_anything_is_loaded(engine, spec_of, monkeypatch, options, package):
    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda _: None)
    advice = rf"flux: .* needs the package {package}\. Install it with: pip install -r requirements-quantization"
    with pytest.raises(ModelUnavailable, match=advice):
        engine.load(spec_of("flux", **options), Recorder())
    assert engine.resident() == []


@pytest.mark.parametrize("method", ["bitsandbytes-8bit", "bitsandbytes-4bit"])
def test_bitsandbytes_on_a_cpu_is_refused_with_advice(engine, spec_of, method):
    with pytest.raises(ModelUnavailable, match=r"needs a GPU\. Use torchao-int8"):
        engine.load(spec_of("flux", quantization=method), Recorder())


def test_float8_with_dynamic_activations_wants_a_gpu_that_multiplies_it(engine, spec_of, monkeypatch, tiny):
    with pytest.raises(ModelUnavailable, match=r"needs a GPU\. Use torchao-int8-dynamic"):
        engine.load(spec_of("flux", quantization="torchao-float8-dynamic"), Recorder())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    spec = spec_of("flux", quantization="torchao-float8-dynamic")
    settings = EngineSettings(root=tiny, model_cache_dir=tiny)
    with pytest.raises(ModelUnavailable, match=r"compute capability 8\.9 \(Ada, Hopper and later\)"):
        choose_compression(spec, inspect_folder(tiny / "flux", None), settings, GPU)


def test_an_unknown_part_and_a_single_file_are_refused(engine, spec_of):
    with pytest.raises(ModelUnavailable, match=r"has no part 'text_encoder_9'.*it has .*text_encoder_2"):
        engine.load(spec_of("flux", quantization="torchao-int8", quantized_parts=["text_encoder_9"]), Recorder())
    with pytest.raises(ModelUnavailable, match="need a diffusers folder"):
        engine.load(spec_of("sd15-single-file.safetensors", quantization="torchao-int8"), Recorder())


def test_a_single_file_is_cast_after_it_is_loaded(engine, spec_of, draw, pipeline):
    plain = draw(spec_of("sd15-single-file.safetensors"))
    spec = spec_of("sd15-single-file.safetensors", layerwise_casting=True)
    made = draw(spec)
    assert torch.float8_e4m3fn in {parameter.dtype for parameter in pipeline(spec).unet.parameters()}
    assert made.versions["weights"] == "unet in float8"
    assert 0 < distance(made, plain) < 12


@pytest.mark.parametrize("bits", [8, 4])
def test_bitsandbytes_is_configured_by_part_and_library(settings, tiny, spec_of, monkeypatch, bits):
    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda _: object())
    real = importlib.metadata.version
    version = {"bitsandbytes": "0.50.2"}  # asked for by the configuration of transformers
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version.get(name) or real(name))
    spec = spec_of("flux", quantization=f"bitsandbytes-{bits}bit", quantized_parts=["transformer", "text_encoder_2"])
    checkpoint = inspect_folder(tiny / "flux", None)
    compression = choose_compression(spec, checkpoint, settings, GPU)
    libraries = {"transformer": diffusers, "text_encoder_2": transformers, "vae": diffusers}
    configs = {
        part: quantization_config(compression, part, library, torch.bfloat16) for part, library in libraries.items()
    }
    assert configs.pop("vae") is None
    assert type(configs["transformer"]) is diffusers.BitsAndBytesConfig
    assert type(configs["text_encoder_2"]) is transformers.BitsAndBytesConfig
    for config in configs.values():
        assert (config.load_in_8bit, config.load_in_4bit) == (bits == 8, bits == 4)
        assert bits == 8 or config.bnb_4bit_compute_dtype is torch.bfloat16
    assert compression.description == f"transformer in bitsandbytes-{bits}bit, text_encoder_2 in bitsandbytes-{bits}bit"


def test_a_quantised_model_takes_no_loras(settings, spec_of, draw, tiny, tmp_path):
    make_lora(tiny / "flux", tmp_path / "style.safetensors")
    engine = DiffusersEngine(dataclasses.replace(settings, loras_dir=tmp_path))
    spec = spec_of("flux")
    engine.load(spec, Recorder())
    engine._model_cache.get(spec).loras._quantized = True
    with pytest.raises(LoraIncompatible, match="flux is quantised"):
        draw(spec, engine, loras=[{"id": "style"}])


@needs_package("torchao")
@pytest.mark.parametrize("method", ["torchao-int8", "torchao-float8", "torchao-int8-dynamic"])
def test_torchao_quantises_while_it_loads(engine, spec_of, draw, pipeline, method):
    plain = draw(spec_of("flux", dtype="bfloat16"))
    before = part_bytes(pipeline(spec_of("flux", dtype="bfloat16")))
    spec = spec_of("flux", dtype="bfloat16", quantization=method, quantized_parts=["transformer", "text_encoder_2"])
    made = draw(spec)
    assert 0 < distance(made, plain) < 12
    after = part_bytes(pipeline(spec))
    assert all(after[part] < 0.85 * before[part] for part in ("transformer", "text_encoder_2"))
    assert after["vae"] == before["vae"]


@pytest.fixture
def gguf_file(tiny, tmp_path):
    file = tmp_path / "flux-q8.gguf"
    writer = gguf.GGUFWriter(file, "flux")
    for name, tensor in load_file(next((tiny / "flux" / "transformer").glob("*.safetensors"))).items():
        weights = tensor.float().numpy()
        kind = (
            gguf.GGMLQuantizationType.Q8_0
            if weights.ndim == 2 and weights.shape[1] % 32 == 0
            else gguf.GGMLQuantizationType.F32
        )
        writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_replaces_the_denoiser(engine, spec_of, draw, pipeline, gguf_file, copy_of):
    plain = draw(spec_of("flux"))
    folder = copy_of("flux")
    for weights in (folder / "transformer").glob("*.safetensors"):
        weights.unlink()  # only its config.json is needed
    spec = spec_of(folder, gguf=str(gguf_file))
    made = draw(spec)
    assert 0 < distance(made, plain) < 12
    assert made.versions["weights"] == f"transformer in gguf {fingerprint(gguf_file.parent, [gguf_file])}"
    assert engine.resident()[-1].needed_bytes > gguf_file.stat().st_size


def test_a_gguf_file_as_model_draws_with_the_parts_of_its_base(engine, spec_of, draw, pipeline, gguf_file, copy_of):
    folder = copy_of("flux")
    replaced = draw(spec_of(folder, gguf=str(gguf_file)))
    for weights in (folder / "transformer").glob("*.safetensors"):
        weights.unlink()
    made = draw(spec_of(gguf_file, base=str(folder)))
    assert distance(made, replaced) == 0


def test_a_gguf_file_that_is_none_or_missing_is_refused(engine, spec_of, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda _: object())
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(ModelUnavailable, match=r"a\.gguf cannot be used: it is not a GGUF file"):
        engine.load(spec_of("flux", gguf=str(tmp_path / "a.gguf")), Recorder())
    with pytest.raises(ModelUnavailable, match=r"there is no .*b\.gguf"):
        engine.load(spec_of("flux", gguf=str(tmp_path / "b.gguf")), Recorder())


@pytest.mark.parametrize(
    ("setting", "option", "tiles"), [(False, True, True), (True, False, False), (True, None, True)]
)
def test_vae_tiles_are_an_option_of_the_model_too(settings, spec_of, draw, setting, option, tiles):
    engine = DiffusersEngine(dataclasses.replace(settings, vae_tiling=setting))
    spec = spec_of("sd15", vae_tiling=option)
    draw(spec, engine)
    assert engine._model_cache.get(spec).pipeline.vae.use_tiling == tiles


def test_models_with_and_without_tiles_do_not_share_a_vae(engine, spec_of, copy_of, draw):
    tiled = spec_of(copy_of("sd15"), vae_tiling=True)
    plain = draw(spec_of("sd15"))
    draw(tiled)
    assert not engine._model_cache.get(spec_of("sd15")).pipeline.vae.use_tiling
    assert distance(draw(spec_of("sd15")), plain) == 0

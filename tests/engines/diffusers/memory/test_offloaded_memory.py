"""The offload plan is chosen before a model is loaded, and offloaded models produce the same images."""

from __future__ import annotations

import dataclasses

import diffusers
import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, WanTransformer3DModel
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from app.core import memory_plan
from app.core.memory_parts import PictureSize
from app.core.memory_plan import PLANS, Form, PlannedModel, plans
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load.checkpoint import inspect_file, inspect_folder
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.memory import planner as planner_module
from app.engines.diffusers.memory.part_shapes import part_shapes
from app.errors import OutOfMemory
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
WORKING = 1000


def only_groups(model, forms, wish="auto"):
    possible = [dataclasses.replace(form, possible=PLANS) for form in forms]
    return plans(dataclasses.replace(model, on_gpu=True), possible, "group")


def shapes_of(checkpoint, dtype=torch.bfloat16, **changes):
    return {part.name: part for part in part_shapes(checkpoint, LoadPlan(GPU, dtype, **changes))}


def test_the_shapes_are_those_of_the_parts_blocks_and_layers(tiny):
    shapes = shapes_of(inspect_folder(tiny / "flux", None))
    for part, shape in shapes.items():
        tensors = load_file(next((tiny / "flux" / part).glob("*.safetensors")))
        assert shape.bytes_of("full") == sum(2 * tensor.numel() for tensor in tensors.values())
        assert shape.layer == max(tensor.numel() for tensor in tensors.values())
        if part == "transformer":
            blocks = {"": 0}
            for name, tensor in tensors.items():
                start = ".".join(name.split(".")[:2]) if "transformer_blocks." in name else ""
                blocks[start] = blocks.get(start, 0) + tensor.numel()
            assert set(blocks) == {"", "transformer_blocks.0", "single_transformer_blocks.0"}
            assert shape.outside == blocks[""]
            assert shape.blocks == sum(blocks.values()) - blocks[""]  # two blocks are all that it has
    assert set(shapes) == {"text_encoder", "text_encoder_2", "transformer", "vae"}


@pytest.mark.parametrize("family", ["flux", "sd35", "sdxl", "sana", "wan", "ltx"])
def test_the_numbers_cast_to_float8_are_those_that_are_counted(engine, spec_of, tiny, family):
    """diffusers skips modules by name; the estimate does the same."""
    engine.load(spec_of(family, layerwise_casting=True), Recorder())
    pipeline = engine._model_cache.get(spec_of(family, layerwise_casting=True)).pipeline
    name = "unet" if family == "sdxl" else "transformer"
    shape = shapes_of(inspect_folder(tiny / family, None), torch.float32)[name]
    tensors = getattr(pipeline, name).state_dict().values()
    assert shape.castable == sum(tensor.numel() for tensor in tensors if tensor.dtype is torch.float8_e4m3fn)
    assert shape.bytes_of("float8") == sum(tensor.nbytes for tensor in tensors)


def test_what_a_library_keeps_in_float32_counts_four_bytes(tiny):
    """transformers keeps a projection of T5 for float16, diffusers the norms of Wan for float16 and bfloat16."""
    half, brain = (shapes_of(inspect_folder(tiny / "flux", None), dtype) for dtype in (torch.float16, torch.bfloat16))
    assert half["text_encoder_2"].bytes_of("full") > brain["text_encoder_2"].bytes_of("full")
    assert half["transformer"].bytes_of("full") == brain["transformer"].bytes_of("full")
    for dtype in (torch.float16, torch.bfloat16):
        encoder = T5EncoderModel.from_pretrained(tiny / "flux" / "text_encoder_2", dtype=dtype)
        held = sum(parameter.nbytes for parameter in encoder.parameters())
        assert shapes_of(inspect_folder(tiny / "flux", None), dtype)["text_encoder_2"].bytes_of("full") == held
        denoiser = WanTransformer3DModel.from_pretrained(tiny / "wan" / "transformer", torch_dtype=dtype)
        held = sum(parameter.nbytes for parameter in denoiser.parameters())
        assert shapes_of(inspect_folder(tiny / "wan", None), dtype)["transformer"].bytes_of("full") == held


def test_the_vae_of_sdxl_is_known_to_decode_in_float32(tiny):
    for family, dtype, wide in (
        ("sdxl", torch.float16, True),
        ("sdxl", torch.bfloat16, False),
        ("sd15", torch.float16, False),
    ):
        checkpoint = inspect_folder(tiny / family, None)
        pipeline_class = getattr(diffusers, checkpoint.pipeline_class)
        shapes = part_shapes(checkpoint, LoadPlan(GPU, dtype), pipeline_class)
        assert next(part for part in shapes if part.name == "vae").decodes_in_float32 == wide


def test_the_parts_of_a_single_file_are_distinguished(tiny):
    """It holds the very weights of the folder."""
    folder = shapes_of(inspect_folder(tiny / "sd15", None))
    file = tiny / "sd15-single-file.safetensors"
    single = shapes_of(inspect_file(file, tiny / "sd15-single-file"))
    assert set(single) == set(folder)
    assert single["unet"].numbers == folder["unet"].numbers
    assert sum(part.numbers for part in single.values()) == pytest.approx(
        sum(part.numbers for part in folder.values()), rel=0.02
    )


def test_a_file_in_float8_counts_what_it_becomes(tiny, tmp_path):
    source = load_file(tiny / "sd15-single-file.safetensors")
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in source.items()}, tmp_path / "f8.safetensors")
    for file in (tmp_path / "f8.safetensors", tiny / "sd15-single-file.safetensors"):
        shapes = shapes_of(inspect_file(file, tiny / "sd15-single-file"))
        assert sum(part.bytes_of("full") for part in shapes.values()) == 2 * sum(t.numel() for t in source.values())


def test_the_placements_are_ordered_by_need(tiny):
    for family in ("flux", "sd35", "sdxl", "sd15", "sana"):
        found = plans_of(tiny / family)
        needed = [found[placement].device.drawing for placement in PLANS]
        assert needed == sorted(needed, reverse=True), family
        assert needed[0] > needed[1] > needed[3]


def plans_of(folder):
    """The plans in full by placement."""
    shapes = shapes_of(inspect_folder(folder, None))
    model = PlannedModel(list(shapes.values()), PictureSize(8, 8), previews=EngineSettings.previews)
    found = plans(model, [Form("16 bit")])
    return {plan.placement: plan for plan in reversed(found)}


@pytest.mark.parametrize("family", ["flux", "sd35", "sdxl", "sd15", "lcm", "sana", "sana-sprint"])
def test_offloaded_in_groups_it_draws_the_same(engine, spec_of, ask, family, monkeypatch):
    """Onto the CPU, whose hooks are those of a GPU."""
    spec = spec_of(family)
    plain = engine.generate(spec, ask(num_inference_steps=2), Recorder()).images[0].pixels
    engine.unload(spec.id)
    monkeypatch.setattr(planner_module, "plans", only_groups)
    made = engine.generate(spec, ask(num_inference_steps=2), Recorder())
    model = engine._model_cache.get(spec)
    parts = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert all(_is_group_offload_enabled(part) for part in parts)
    assert np.array_equal(made.images[0].pixels, plain)
    assert engine.resident()[0].offload == "group"


def test_a_lora_works_while_the_blocks_wait(settings, spec_of, ask, tiny, tmp_path, monkeypatch):
    make_lora(tiny / "flux", tmp_path / "style.safetensors", strength=2.0)
    settings = dataclasses.replace(settings, loras_dir=tmp_path)

    def draw(engine, **asked):
        return engine.generate(spec_of("flux"), ask(**asked), Recorder()).images[0].pixels

    style = [{"id": "style"}]
    plain, wanted = (draw(DiffusersEngine(settings), loras=loras) for loras in ([], style))
    monkeypatch.setattr(planner_module, "plans", only_groups)
    waiting = DiffusersEngine(settings)
    for loras, picture in (([], plain), (style, wanted), ([], plain), (style, wanted)):
        assert np.array_equal(draw(waiting, loras=loras), picture)


def test_a_part_that_cannot_be_offloaded_in_groups_goes_to_the_device_whole(tiny, monkeypatch):
    pipeline = FluxPipeline.from_pretrained(tiny / "flux", local_files_only=True)
    pipeline.vae._supports_group_offloading = False
    moved = []
    monkeypatch.setattr(pipeline.vae, "to", lambda device: moved.append(device))
    place(pipeline, LoadPlan(CPU, torch.float32, plan="group"))
    assert moved == [CPU]
    assert not _is_group_offload_enabled(pipeline.vae)
    assert _is_group_offload_enabled(pipeline.transformer)


@pytest.fixture
def needed(tiny):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory_plan, "working_bytes", lambda *_, **__: WORKING)
        return {placement: plan.device.highest for placement, plan in plans_of(tiny / "flux").items()}


@pytest.mark.parametrize("plan", PLANS)
def test_auto_loads_with_the_fastest_plan_that_fits(gpu, needed, plan, caplog):
    gpu.total = needed[plan]
    gpu.settings = dataclasses.replace(gpu.settings, quantization="none")
    with caplog.at_level("INFO", "cyberimage.models"):
        model = gpu.load("flux")
    assert (model.load_plan.plan, model.needed_bytes) == (plan, needed[plan])
    assert gpu.asked == [plan]
    described = model.describe()
    assert (described.offload, described.needed_bytes) == (plan, needed[plan])
    assert (described.device_bytes > 0) == (plan == "none")
    assert any(
        f"flux: memory plan 16 bit, {plan}, " in record.message and "needed: 16 bit, none" in record.message
        for record in caplog.records
    )


def test_a_model_too_large_for_any_plan_is_refused(gpu, needed):
    gpu.total = needed["sequential"] - 1
    with pytest.raises(OutOfMemory, match=r"flux needs about .* GB of memory on cuda:0, where .* Choose a smaller"):
        gpu.load("flux")
    assert gpu.asked == []


@pytest.mark.parametrize("how", ["setting", "option"])
def test_a_wish_is_followed_or_refused_with_advice(gpu, needed, how):
    gpu.total = needed["model"]
    if how == "setting":
        gpu.settings, options = dataclasses.replace(gpu.settings, offload="none"), {}
    else:
        options = {"offload": "none"}
    with pytest.raises(OutOfMemory, match="Set OFFLOAD=auto"):
        gpu.load("flux", **options)
    assert gpu.load("flux", offload="group").load_plan.plan == "group"


def test_other_models_are_evicted_before_offloading(gpu):
    """Memory that other models could release counts as free."""
    gpu.total = 800_000  # either of them
    gpu.load("sd15")
    assert gpu.load("flux").load_plan.plan == "none"
    assert [model.model_id for model in gpu.model_cache.resident_models()] == ["flux"]


def test_an_offloaded_model_is_not_evicted(gpu):
    gpu.total = 800_000
    gpu.load("sd15", offload="model")
    gpu.load("sd35")
    assert gpu.load("flux").load_plan.plan == "none"
    assert [model.model_id for model in gpu.model_cache.resident_models()] == ["sd15", "flux"]


def test_an_offloaded_model_takes_no_parts_of_another(gpu, needed, copy_of):
    gpu.total = 10 * needed["none"]
    flux, copy = gpu.load("flux").pipeline, copy_of("flux")
    assert gpu.load(copy).pipeline.vae is flux.vae
    gpu.model_cache.remove(copy.name)
    assert gpu.load(copy, offload="model").pipeline.vae is not flux.vae


def test_the_cpu_offloads_nothing(settings, spec_of):
    engine = DiffusersEngine(dataclasses.replace(settings, offload="sequential"))
    engine.load(spec_of("flux", offload="model"), Recorder())
    assert engine.resident()[0].offload == "none"
    assert engine.resident()[0].needed_bytes > memory_plan.CPU_WORKING_BYTES

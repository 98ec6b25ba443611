"""The offload plan is chosen before a model is loaded, and offloaded models produce the same images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from safetensors.torch import load_file

from app.core.offload import PLANS, needs
from app.engines.diffusers import loader as loader_module
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import build
from app.engines.diffusers.load.checkpoint import inspect_file, inspect_folder
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.loader import Loader
from app.engines.diffusers.memory import memory
from app.engines.diffusers.memory import model_cache as model_cache_module
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.part_sizes import weight_sizes
from app.errors import OutOfMemory
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
WORKING = 1000


def test_the_sizes_are_those_of_the_parts_blocks_and_layers(tiny):
    parts = {}
    for part in ("text_encoder", "text_encoder_2", "transformer", "vae"):
        parts[part] = load_file(next((tiny / "flux" / part).glob("*.safetensors")))
    sizes = weight_sizes(inspect_folder(tiny / "flux", None), lambda _: 2, shared=())
    whole = {part: sum(2 * tensor.numel() for tensor in tensors.values()) for part, tensors in parts.items()}
    assert sizes.all == sum(whole.values())
    assert sizes.largest_part == max(whole.values())
    assert sizes.largest_layer == max(2 * tensor.numel() for part in parts.values() for tensor in part.values())
    blocks = {"": 0}
    for name, tensor in parts["transformer"].items():
        start = ".".join(name.split(".")[:2]) if "transformer_blocks." in name else ""
        blocks[start] = blocks.get(start, 0) + 2 * tensor.numel()
    assert set(blocks) == {"", "transformer_blocks.0", "single_transformer_blocks.0"}
    largest_elsewhere = max(
        2 * t.numel() for part, found in parts.items() for t in found.values() if part != "transformer"
    )
    assert sizes.largest_group == max(sum(blocks.values()), largest_elsewhere)  # two blocks are all that it has


def test_what_is_shared_counts_only_where_all_is_counted(tiny):
    checkpoint = inspect_folder(tiny / "flux", None)
    alone, beside = (
        weight_sizes(checkpoint, lambda _: 2, shared) for shared in ((), ("vae", "text_encoder", "tokenizer"))
    )
    assert alone.all - beside.all == checkpoint.weights["vae"].bytes_at(2) + checkpoint.weights[
        "text_encoder"
    ].bytes_at(2)
    assert dataclasses.replace(alone, all=0) == dataclasses.replace(beside, all=0)


def test_the_parts_of_a_single_file_are_distinguished(tiny):
    """It holds the very weights of the folder."""
    folder = weight_sizes(inspect_folder(tiny / "sd15", None), lambda _: 2, shared=())
    file = tiny / "sd15-single-file.safetensors"
    single = weight_sizes(inspect_file(file, tiny / "sd15-single-file"), lambda _: 2, shared=())
    assert single.all == pytest.approx(folder.all, rel=0.02)
    assert single.largest_part == folder.largest_part
    assert single.largest_part < single.all


def test_the_plans_are_ordered_by_need(tiny):
    for family in ("flux", "sd35", "sdxl", "sd15", "sana"):
        needed = needs(weight_sizes(inspect_folder(tiny / family, None), lambda _: 2, shared=()), 0)
        assert [needed[plan] for plan in PLANS] == sorted(needed.values(), reverse=True), family
        assert needed["none"] > needed["model"] > needed["sequential"]


@pytest.mark.parametrize("family", ["flux", "sd35", "sdxl", "sd15", "lcm", "sana", "sana-sprint"])
def test_offloaded_in_groups_it_draws_the_same(engine, spec_of, ask, family, monkeypatch):
    """Onto the CPU, whose hooks are those of a GPU."""
    spec = spec_of(family)
    plain = engine.generate(spec, ask(num_inference_steps=2), Recorder()).images[0].pixels
    engine.unload(spec.id)
    monkeypatch.setattr(loader_module, "possible_plans", lambda *_: ("group",))
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
    monkeypatch.setattr(loader_module, "possible_plans", lambda *_: ("group",))
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
def gpu(settings, spec_of, monkeypatch):
    """A loader for a GPU of a given size that is not there: what is placed on it stays where it is, and counts."""

    class Gpu:
        total = 0
        model_cache = ModelCache(GPU)
        asked: list = []

        def free(self, _):
            return self.total - sum(model.device_bytes for model in self.model_cache.resident_models())

        def load(self, repo, **options):
            spec = spec_of(repo, dtype="bfloat16", attention="native", **options)
            Loader(self.settings, GPU, self.model_cache).load(spec, Recorder())
            return self.model_cache.get(spec)

    gpu = Gpu()
    gpu.settings = settings
    for module in (loader_module, model_cache_module):
        monkeypatch.setattr(module, "free_bytes", gpu.free)
    monkeypatch.setattr(loader_module, "least_working_bytes", lambda *_: WORKING)
    monkeypatch.setattr(build, "place", lambda pipeline, load_plan: gpu.asked.append(load_plan.plan))
    return gpu


@pytest.fixture
def needed(tiny):
    sizes = weight_sizes(inspect_folder(tiny / "flux", None), lambda _: 2, shared=())
    return needs(sizes, WORKING)


@pytest.mark.parametrize("plan", PLANS)
def test_auto_loads_with_the_fastest_plan_that_fits(gpu, needed, plan, caplog):
    gpu.total = needed[plan]
    with caplog.at_level("INFO", "cyberimage.models"):
        model = gpu.load("flux")
    assert (model.load_plan.plan, model.needed_bytes) == (plan, needed[plan])
    assert gpu.asked == [plan]
    described = model.describe()
    assert (described.offload, described.needed_bytes) == (plan, needed[plan])
    assert (described.device_bytes > 0) == (plan == "none")
    assert any(
        f"flux: offload {plan}, " in record.message and "needed: none" in record.message for record in caplog.records
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
    assert engine.resident()[0].needed_bytes > memory._CPU_WORKING_BYTES

"""RAM cache of models evicted from a GPU. The GPU here is a label on parts that note where they are sent:
what is moved when is what can be seen without one."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from app.core import memory_plan
from app.core.job import Phase
from app.engines.diffusers import engine as engine_module
from app.engines.diffusers import loader as loader_module
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import build
from app.engines.diffusers.load import parts as parts_module
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.memory import model_cache as model_cache_module
from app.engines.diffusers.memory import planner as planner_module
from app.engines.diffusers.memory.loaded import LoadedModel
from app.engines.diffusers.memory.model_cache import ModelCache
from app.engines.diffusers.memory.prompt_cache import PromptCache
from tests.engines.diffusers.generate.control import Recorder

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
RESERVE = 100


class Part:
    """Stands in for a torch module; each method must exist there."""

    def __init__(self) -> None:
        self.place = GPU
        self.moves = 0

    def to(self, device):
        assert hasattr(torch.nn.Module, "to")
        self.moves += self.place != device
        self.place = device


class Machine:
    """A GPU and a main memory of so many bytes, with what is on them counted by where the parts are."""

    def __init__(self) -> None:
        self.vram, self.ram = 1000, 10_000
        self.parts: weakref.WeakKeyDictionary[Part, int] = weakref.WeakKeyDictionary()

    def free(self, device):
        total = self.ram if device.type == "cpu" else self.vram
        return total - sum(size for part, size in self.parts.items() if part.place.type == device.type)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(model_cache_module, "free_bytes", machine.free)
    monkeypatch.setattr(model_cache_module, "reserve_bytes", lambda _: RESERVE)
    monkeypatch.setattr(model_cache_module, "release", lambda: None)  # unreferenced models are freed without it
    return machine


@pytest.fixture
def model_cache():
    return ModelCache(GPU, park=True)


@pytest.fixture
def load(model_cache, machine, spec_of):
    """Put a model of parts (name=bytes) on the GPU; `common` are parts that it has from others."""

    def one(name, common=None, plan="none", **sizes):
        pipeline = SimpleNamespace(**(common or {}))
        for part, size in sizes.items():
            setattr(pipeline, part, Part())
            machine.parts[getattr(pipeline, part)] = size
        sizes |= {part: machine.parts[value] for part, value in (common or {}).items()}
        loras = SimpleNamespace(cleared=0, ids=())
        loras.clear = lambda: setattr(loras, "cleared", loras.cleared + 1)
        model = LoadedModel(
            spec_of(name), None, pipeline, LoadPlan(GPU, torch.float16, plan=plan), sizes, loras, PromptCache(0)
        )
        model_cache.add(model)
        return spec_of(name)

    return one


def facts(model_cache):
    """Per model: where it is, and bytes on the GPU and in main memory."""
    return {
        model.model_id: ("parked" if model.parked else "ready", model.device_bytes, model.host_bytes)
        for model in model_cache.resident_models()
    }


def places(model):
    return {name: getattr(model.pipeline, name).place.type for name in model.part_bytes}


def test_an_evicted_model_is_parked_and_restored_unchanged(model_cache, machine, load):
    a = load("a", unet=500, vae=100)
    pipeline = model_cache.get(a).pipeline
    assert model_cache.make_room("b", 700) == 1000
    assert facts(model_cache) == {"a": ("parked", 0, 600)}
    assert model_cache.get(a) is None
    model = model_cache.pop_parked(a)
    assert model.pipeline is pipeline
    assert places(model) == {"unet": "cpu", "vae": "cpu"}
    assert model.loras.cleared == 1
    model.move(GPU)
    model_cache.add(model)
    assert facts(model_cache) == {"a": ("ready", 600, 0)}
    assert model_cache.get(a) is model


def test_one_that_the_catalogue_describes_otherwise_now_does_not_come_back(model_cache, load, spec_of):
    load("a", unet=500)
    model_cache.make_room("b", 1000)
    assert model_cache.pop_parked(spec_of("a", dtype="float32")) is None
    assert model_cache.pop_parked(spec_of("unknown")) is None


def test_the_oldest_parked_model_is_dropped_for_another(model_cache, machine, load):
    machine.ram = 1300 + RESERVE
    for name in ("a", "b", "c"):
        load(name, unet=600)
        model_cache.make_room("next", 1000)
    assert facts(model_cache) == {"b": ("parked", 0, 600), "c": ("parked", 0, 600)}
    assert machine.free(CPU) == 100 + RESERVE


def test_without_room_it_is_dropped_and_frees_its_memory(model_cache, machine, load, monkeypatch):
    machine.ram = 599 + RESERVE
    load("a", unet=600)
    gone = weakref.ref(model_cache._models["a"].pipeline.unet)
    alive = []
    monkeypatch.setattr(model_cache_module, "release", lambda: alive.append(gone() is not None))
    assert model_cache.make_room("b", 1000) == 1000
    assert facts(model_cache) == {}
    assert alive == [False]  # what is still held then is not given back to the GPU


def test_leaving_frees_before_the_next_look(model_cache, machine, load):
    """No reference to an evicted model may remain: otherwise more would be evicted than necessary."""
    machine.ram = 0
    load("a", unet=400)
    load("b", unet=400)
    model_cache.make_room("c", 600)
    assert facts(model_cache) == {"b": ("ready", 400, 0)}


def test_main_memory_that_runs_low_is_given_back(model_cache, machine, load):
    for name in ("a", "b"):
        load(name, unet=600)
        model_cache.make_room("next", 1000)
    model_cache.free_ram()
    assert len(facts(model_cache)) == 2
    machine.ram = 1200 + RESERVE - 1
    model_cache.free_ram()
    assert facts(model_cache) == {"b": ("parked", 0, 600)}
    model_cache.free_ram(600)
    assert facts(model_cache) == {}


def test_a_part_that_another_one_uses_stays_on_the_gpu_until_it_is_not(model_cache, machine, load):
    a = load("a", unet=300, vae=100)
    vae = model_cache.get(a).pipeline.vae
    b = load("b", {"vae": vae}, unet=300)
    model_cache.get(b)
    model_cache.make_room("c", 600)
    assert facts(model_cache) == {"a": ("parked", 0, 300), "b": ("ready", 400, 0)}
    assert vae.place == GPU
    model_cache.make_room("c", 1000)
    assert facts(model_cache) == {"a": ("parked", 0, 400), "b": ("parked", 0, 300)}
    assert vae.place == CPU
    back = model_cache.pop_parked(a)
    assert model_cache.missing_bytes(back.weights.items()) == 400
    back.move(GPU)
    model_cache.add(back)
    assert model_cache.missing_bytes(model_cache.pop_parked(b).weights.items()) == 300


def test_unloading_the_last_user_brings_a_waiting_part_to_main_memory(model_cache, machine, load):
    a = load("a", unet=300, vae=100)
    vae = model_cache.get(a).pipeline.vae
    load("b", {"vae": vae}, unet=300)
    model_cache.get(model_cache._models["b"].spec)
    model_cache.make_room("c", 600)
    assert vae.place == GPU
    assert model_cache.remove("b")
    assert vae.place == CPU
    assert facts(model_cache) == {"a": ("parked", 0, 400)}


def test_parts_that_are_wanted_at_once_are_not_moved_to_and_fro(model_cache, machine, load):
    a = load("a", unet=300, vae=100)
    vae = model_cache.get(a).pipeline.vae
    model_cache.make_room("b", 900, held={id(vae)})
    assert facts(model_cache)["a"][0] == "parked"
    assert vae.moves == 0


def test_unloading_forgets_those_that_wait_too(model_cache, load):
    load("a", unet=300)
    model_cache.make_room("b", 1000)
    assert model_cache.remove("a")
    assert not model_cache.remove("a")
    assert facts(model_cache) == {}


def test_offloaded_models_do_not_wait_twice(model_cache, load):
    load("a", unet=300, plan="model")
    model_cache._most = 1
    model_cache.make_room("b", 100)
    assert facts(model_cache) == {}


@pytest.mark.parametrize(("device", "park"), [(CPU, True), (GPU, False)])
def test_on_a_cpu_or_disabled_nothing_is_parked(machine, load, model_cache, device, park):
    load("a", unet=300)
    plain = ModelCache(device, park=park)
    plain.add(model_cache._models.pop("a"))
    plain._most = 1
    plain.make_room("b", 100)
    assert plain.resident_models() == []


def test_what_becomes_of_a_model_does_not_become_of_those_that_share_its_parts(model_cache, load):
    """Before it is made to need less, or after it ran out of memory."""
    a = load("a", unet=200, vae=100)
    vae = model_cache.get(a).pipeline.vae
    load("b", {"vae": vae}, unet=200)
    load("c", unet=200)
    load("d", {"vae": vae}, unet=100)
    model_cache._evict("d")
    assert model_cache.remove_others("a")
    assert facts(model_cache) == {"a": ("ready", 300, 0), "c": ("parked", 0, 200)}


def test_main_memory_that_runs_out_on_the_way_unloads_it(model_cache, load, monkeypatch):
    a = load("a", unet=300)
    pipeline = model_cache.get(a).pipeline

    def full(_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    pipeline.unet.to = full
    model_cache.make_room("b", 1000)
    assert facts(model_cache) == {}


@pytest.fixture
def on_gpu(settings, monkeypatch):
    """An engine on a GPU with room for one model, that draws on the CPU: moving is noted, not done."""
    moves = []
    room = {"cuda": 10**12, "cpu": 10**12}

    def free(device):
        return room[device.type] - sum(model.device_bytes for model in engine.resident() if device.type == "cuda")

    for module in (model_cache_module, planner_module):
        monkeypatch.setattr(module, "free_bytes", free)
    monkeypatch.setattr(engine_module, "_choose_device", lambda _: GPU)
    monkeypatch.setattr(build, "place", lambda *_: None)
    monkeypatch.setattr(LoadedModel, "move", lambda self, device, keep=(): moves.append((self.spec.id, device.type)))
    monkeypatch.setattr(memory_plan, "working_bytes", lambda *_, **__: 0)
    monkeypatch.setattr(parts_module, "device_for", lambda load_plan: torch.device("cpu"))
    engine = DiffusersEngine(settings)
    engine.moves, engine.room = moves, room
    return engine


def test_the_engine_brings_a_model_back_without_loading_it(on_gpu, spec_of, ask, monkeypatch):
    options = {"dtype": "float32", "attention": "native"}
    flux, sd15 = spec_of("flux", **options), spec_of("sd15", **options)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda _: 0)
    monkeypatch.setattr("app.engines.diffusers.generate.progress.ProgressHook._synchronize", lambda *_: None)
    on_gpu.room["cuda"] = 1_600_000
    first = on_gpu.generate(flux, ask(), Recorder()).images[0].pixels
    on_gpu.load(sd15, Recorder())
    assert [(model.model_id, model.parked) for model in on_gpu.resident()] == [("flux", True), ("sd15", False)]
    monkeypatch.setattr(loader_module, "build_pipeline", lambda *_: pytest.fail("it was loaded again"))
    made = on_gpu.generate(flux, ask(), Recorder())
    assert np.array_equal(made.images[0].pixels, first)
    assert Phase.LOADING.value in made.timings
    assert [(model.model_id, model.parked) for model in on_gpu.resident()] == [("sd15", True), ("flux", False)]
    assert on_gpu.moves[0] == ("flux", "cpu")
    assert ("flux", "cuda") in on_gpu.moves


def test_one_that_no_longer_fits_as_it_was_is_loaded_with_another_plan(on_gpu, spec_of):
    flux, sd15 = (spec_of(name, dtype="float32", attention="native") for name in ("flux", "sd15"))
    on_gpu.room["cuda"] = 1_600_000
    on_gpu.load(flux, Recorder())
    on_gpu.load(sd15, Recorder())
    on_gpu.room["cuda"] = 600_000  # another process took the rest
    on_gpu.load(flux, Recorder())
    assert {model.model_id: (model.parked, model.offload) for model in on_gpu.resident()} == {
        "sd15": (True, "none"),
        "flux": (False, "model"),
    }


def test_one_that_runs_out_of_memory_on_its_way_back_is_loaded_anew(on_gpu, spec_of, monkeypatch):
    flux, sd15 = (spec_of(name, dtype="float32", attention="native") for name in ("flux", "sd15"))
    on_gpu.room["cuda"] = 1_600_000
    on_gpu.load(flux, Recorder())
    on_gpu.load(sd15, Recorder())
    pipeline = weakref.ref(on_gpu._model_cache._ram_cache.models[0].pipeline)

    def full(self, device, keep=()):
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LoadedModel, "move", full)
    on_gpu.load(flux, Recorder())
    assert pipeline() is None
    assert [model.model_id for model in on_gpu.resident() if not model.parked] == ["flux"]


def test_parts_of_a_parked_model_need_room_like_others(on_gpu, spec_of, copy_of):
    options = {"dtype": "float32", "attention": "native"}
    flux, copy, sd15 = spec_of("flux", **options), spec_of(copy_of("flux"), **options), spec_of("sd15", **options)
    on_gpu.room["cuda"] = 1_600_000
    for spec in (flux, sd15, copy):
        on_gpu.load(spec, Recorder())
    resident = {model.model_id: model for model in on_gpu.resident()}
    assert (resident["flux"].parked, resident["sd15"].parked) == (True, True)
    pipelines = [model.pipeline for model in on_gpu._model_cache.shareable_models() if model.spec.id != "sd15"]
    assert pipelines[0].vae is pipelines[1].vae
    assert resident[copy.id].needed_bytes == resident["flux"].needed_bytes


def test_beside_its_donor_only_the_rest_needs_room(on_gpu, spec_of, copy_of):
    options = {"dtype": "float32", "attention": "native"}
    flux, copy = spec_of("flux", **options), spec_of(copy_of("flux"), **options)
    on_gpu.load(flux, Recorder())
    on_gpu.load(copy, Recorder())
    alone, beside = on_gpu.resident()
    assert beside.needed_bytes < 0.6 * alone.needed_bytes
    held = {id(part) for part in on_gpu._model_cache.get(flux).pipeline.components.values()}
    assert on_gpu._model_cache.reclaimable_bytes(held) == beside.device_bytes

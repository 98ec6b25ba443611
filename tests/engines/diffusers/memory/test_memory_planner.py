"""The form of a model's weights and the memory they take are planned before it is loaded, and smaller after memory ran
out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from app.core import memory_parts
from app.core.memory_plan import Room
from app.engines.diffusers import engine as engine_module
from app.engines.diffusers import loader as loader_module
from app.engines.diffusers import pipeline_runner
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.load import build as build_module
from app.engines.diffusers.load import parts as parts_module
from app.engines.diffusers.memory import model_cache as model_cache_module
from app.engines.diffusers.memory import planner as planner_module
from app.errors import ModelUnavailable, OutOfMemory
from tests.engines.diffusers.generate.control import Recorder

GPU = torch.device("cuda:0")
WORKING = 1000  # bytes that a part takes beside its weights, of the fixture
HOST = 500_000_000  # main memory that a GPU worker needs beside weights


def plan_needing(gpu, label, spec="sdxl", **options):
    """The plan of that label, as the planner reckons it on a GPU with memory for everything."""
    gpu.total = 10**12
    found = {}
    real = planner_module.choose

    def remember(candidates, room):
        found.update({plan.label: plan for plan in reversed(candidates)})
        return real(candidates, room)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planner_module, "choose", remember)
        gpu.load(spec, **options)
    gpu.model_cache.remove(spec)
    gpu.asked.clear()
    return found[label]


def test_what_does_not_fit_well_in_sixteen_bits_is_stored_in_float8(gpu):
    plan = plan_needing(gpu, "float8, none")
    gpu.total = plan.device.highest
    model = gpu.load("sdxl")
    assert (model.load_plan.form, model.load_plan.plan) == ("float8", "none")
    assert model.needed_bytes == plan.device.highest
    assert torch.float8_e4m3fn in {parameter.dtype for parameter in model.pipeline.unet.parameters()}
    assert model.describe().form == "float8"
    assert model.load_plan.compression.description == "unet in float8"


def test_it_stays_as_it_is_where_it_fits_well(gpu):
    gpu.total = plan_needing(gpu, "16 bit, model").device.highest
    model = gpu.load("sdxl")
    assert (model.load_plan.form, model.load_plan.plan) == ("16 bit", "model")
    assert not model.load_plan.compression.kinds


@pytest.mark.parametrize("how", ["setting", "option"])
def test_smaller_forms_can_be_switched_off(gpu, how):
    gpu.total = plan_needing(gpu, "float8, none").device.highest
    options = {"quantization": "none"} if how == "option" else {}
    if how == "setting":
        gpu.settings = dataclasses.replace(gpu.settings, quantization="none")
    assert gpu.load("sdxl", **options).load_plan.form == "16 bit"
    assert gpu.asked in (["group"], ["sequential"])


def test_what_a_line_asks_for_is_not_made_smaller(gpu):
    gpu.total = plan_needing(gpu, "float8, none").device.highest
    model = gpu.load("sdxl", layerwise_casting=True)
    assert (model.load_plan.form, model.load_plan.plan) == ("float8", "none")
    with pytest.raises(ModelUnavailable, match=r"cannot be offloaded as 'sequential' in float8.* none, model, group"):
        gpu.load("flux", layerwise_casting=True, offload="sequential")


def test_main_memory_that_is_short_refuses_with_what_would_help(gpu):
    gpu.total, gpu.ram = 10**12, HOST // 2
    with pytest.raises(OutOfMemory, match=r"flux needs about 0.5 GB of memory on this machine \(main memory"):
        gpu.load("flux", offload="sequential")
    gpu.total = 20
    with pytest.raises(OutOfMemory, match=r"flux needs about .* on cuda:0, where .*pip install -r|Choose a smaller"):
        gpu.load("flux")
    assert gpu.asked == []


def test_a_wish_that_does_not_fit_names_auto(gpu):
    gpu.total = plan_needing(gpu, "16 bit, model").device.highest - 1
    with pytest.raises(OutOfMemory, match="Set OFFLOAD=auto, under which it fits"):
        gpu.load("sdxl", offload="none", quantization="none")


def test_offloaded_models_leave_main_memory_for_another(gpu, monkeypatch):
    """They hold no memory of the GPU, and all of theirs in main memory."""
    gpu.total = 10**12
    first = gpu.load("sd15", offload="model")
    needed = plan_needing(gpu, "16 bit, model", "flux").ram.highest
    gpu.load("sd15", offload="model")
    monkeypatch.setattr(type(gpu), "free", lambda self, device: self.total if device.type == "cuda" else left())

    def left():
        return needed - 1 + (0 if gpu.model_cache.get(first.spec) else first.size)

    monkeypatch.setattr(planner_module, "free_bytes", gpu.free)
    monkeypatch.setattr("app.engines.diffusers.memory.model_cache.free_bytes", gpu.free)
    assert gpu.load("flux", offload="model").load_plan.plan == "model"
    assert [model.model_id for model in gpu.model_cache.resident_models()] == ["flux"]


def test_parts_are_loaded_one_after_another_straight_to_the_gpu(gpu, monkeypatch):
    loaded = []

    def watch(found):
        real = found.from_pretrained

        def note(path, **options):
            loaded.append((path.name, str(options.pop("device_map", {}).get(""))))
            return real(path, **options)

        monkeypatch.setattr(found, "from_pretrained", note)

    for found in (FluxTransformer2DModel, CLIPTextModel, T5EncoderModel, AutoencoderKL):
        watch(found)
    monkeypatch.setattr(parts_module, "device_for", lambda load_plan: GPU)
    gpu.total = 10**12
    gpu.load("flux")
    assert sorted(loaded) == [(part, "cuda:0") for part in ("text_encoder", "text_encoder_2", "transformer", "vae")]
    loaded.clear()
    gpu.model_cache.remove("flux")
    gpu.load("flux", offload="model")
    assert {where for _, where in loaded} == {"None"}


@pytest.fixture
def short(monkeypatch):
    """Memory that runs out while loading until the form is one of `enough`; the forms that were tried."""
    tried = []
    real = loader_module.build_pipeline

    def start(*enough):
        def build(spec, checkpoint, load_plan, shared):
            tried.append(load_plan.form)
            if load_plan.form not in enough:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(spec, checkpoint, load_plan, shared)

        monkeypatch.setattr(loader_module, "build_pipeline", build)
        return tried

    return start


def test_out_of_memory_while_loading_tries_the_next_smaller_plan(engine, spec_of, ask, short):
    tried = short("float8")
    made = engine.generate(spec_of("flux"), ask(), Recorder())
    assert tried == ["32 bit", "float8"]
    assert made.versions["weights"] == "transformer in float8"
    assert made.effective["memory_plan"] == "float8, none"
    engine.unload("flux")
    engine.load(spec_of("flux"), Recorder())
    assert tried[2:] == ["float8"]  # it is not tried again in this process
    engine.load(spec_of("flux", hint="changed"), Recorder())
    assert tried[3:] == ["32 bit", "float8"]


@pytest.mark.parametrize("family", ["flux", "sd35", "sana", "wan"])
def test_a_text_encoder_in_float8_draws_nearly_the_same(engine, spec_of, ask, short, monkeypatch, family):
    """Its own dtype, to which pipelines convert what it returns, stays the one it computes in."""
    spec = spec_of(family, media="video") if family == "wan" else spec_of(family)
    frames = {"num_frames": 5, "fps": 8, "task": "txt2video"} if family == "wan" else {}
    plain = engine.generate(spec, ask(**frames), Recorder())
    engine.unload(spec.id)
    monkeypatch.setattr(memory_parts, "LARGE_ENCODER", 1)
    form = "float8 with text encoder in float8"
    short(form)
    made = DiffusersEngine(engine._settings).generate(spec, ask(**frames), Recorder())
    assert "text_encoder in float8" in made.versions["weights"]
    assert made.effective["memory_plan"] == f"{form}, none"
    one, other = (g.videos[0].poster if g.videos else g.images[0].pixels for g in (plain, made))
    assert 0 < np.abs(one.astype(int) - other).mean() < 15


def test_the_last_plan_ends_it(engine, spec_of, short):
    tried = short()
    for _ in range(2):
        with pytest.raises(OutOfMemory, match="ran out while flux was loaded"):
            engine.load(spec_of("flux"), Recorder())
    assert tried == ["32 bit", "float8", "float8"]


@pytest.fixture
def draws_with(monkeypatch):
    """Memory that runs out while drawing unless the plan is `enough`; the plans that were tried."""
    tried, real = [], pipeline_runner.generate

    def start(enough):
        def draw(model, *arguments, **options):
            tried.append((model.load_plan.form, model.load_plan.plan))
            if tried[-1] != enough:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(model, *arguments, **options)

        monkeypatch.setattr(pipeline_runner, "generate", draw)
        return tried

    return start


@pytest.fixture
def as_a_gpu(settings, monkeypatch):
    """An engine that plans for a GPU with memory for everything, and draws on the CPU."""
    engine = DiffusersEngine(settings)
    monkeypatch.setattr(planner_module, "is_gpu", lambda device: True)
    monkeypatch.setattr(planner_module, "free_bytes", lambda device: 10**12)
    monkeypatch.setattr(engine_module, "is_gpu", lambda device: True)
    return engine


def test_out_of_memory_while_drawing_goes_down_to_the_last_placement(as_a_gpu, spec_of, ask, draws_with):
    spec = spec_of("sd15", quantization="none")
    plain = DiffusersEngine(as_a_gpu._settings).generate(spec, ask(), Recorder())
    tried = draws_with(("32 bit", "group"))
    made = as_a_gpu.generate(spec, ask(), Recorder())
    assert list(dict.fromkeys(tried)) == [("32 bit", plan) for plan in ("none", "model", "group")]
    assert made.warnings == ("Memory ran short, so sd15 now works with less: 32 bit, offload group.",)
    assert np.array_equal(made.images[0].pixels, plain.images[0].pixels)
    tried.clear()
    as_a_gpu.generate(spec, ask(), Recorder())
    assert tried == [("32 bit", "group")]  # it stays


def test_a_smaller_form_is_taken_for_the_request_only(as_a_gpu, spec_of, ask, draws_with, monkeypatch):
    """Main memory has no room for offloading. The form changes the picture, and no job changes that of another."""
    room = Room(10**12, HOST + 300_000)
    for measure in ("_reachable", "_make_room"):
        monkeypatch.setattr(planner_module.MemoryPlanner, measure, lambda *_: room)
    tried = draws_with(("float8", "none"))
    made = as_a_gpu.generate(spec_of("sd15"), ask(), Recorder())
    assert tried[-1] == ("float8", "none")
    assert made.warnings[-1].startswith("Memory ran short, so sd15 drew this with less: float8, offload none.")
    assert as_a_gpu.resident() == []
    as_a_gpu.load(spec_of("sd15"), Recorder())
    assert as_a_gpu.resident()[0].form == "32 bit"


class History:
    """Plans killed, as a worker's database has them, and those that were begun."""

    def __init__(self, *killed: str) -> None:
        self.names, self.begun = killed, []

    def killed(self, model_id):
        return self.names

    def begin(self, model_id, plan):
        self.begun.append((model_id, plan))


def test_a_plan_under_which_the_kernel_killed_a_worker_is_not_taken_again(settings, spec_of, ask, caplog):
    history = History()
    engine = DiffusersEngine(dataclasses.replace(settings, plan_history=history))
    plain = engine.generate(spec_of("flux"), ask(), Recorder())
    assert history.begun == [("flux", "32 bit, none")]
    assert plain.warnings == ()
    again = History("32 bit, none")
    engine = DiffusersEngine(dataclasses.replace(settings, plan_history=again))
    made = engine.generate(spec_of("flux"), ask(), Recorder())
    assert again.begun == [("flux", "float8, none")]
    assert made.effective["memory_plan"] == "float8, none"
    assert made.warnings[0].startswith(
        "The machine ran out of memory while it held flux as 32 bit, none, so it is held as float8, none now."
    )
    assert "the kernel killed a worker under the memory plan 32 bit, none" in caplog.text


def test_a_plan_is_recorded_before_its_weights_are_read(settings, spec_of, short):
    history, tried = History(), short("float8")
    DiffusersEngine(dataclasses.replace(settings, plan_history=history)).load(spec_of("flux"), Recorder())
    assert tried == ["32 bit", "float8"]
    assert [plan for _, plan in history.begun] == ["32 bit, none", "float8, none"]


def test_without_a_smaller_plan_the_same_one_is_taken(settings, spec_of, ask):
    settings = dataclasses.replace(settings, quantization="none", plan_history=History("32 bit, none"))
    made = DiffusersEngine(settings).generate(spec_of("flux"), ask(), Recorder())
    assert (made.effective["memory_plan"], made.warnings) == ("32 bit, none", ())


def staying_in(gpu, monkeypatch):
    """What the loader was told may stay on the GPU, load by load; it then stays, all of it."""
    told = []
    monkeypatch.setattr(build_module, "place", lambda _, load_plan: told.append(load_plan.resident_bytes))
    monkeypatch.setattr(loader_module, "resident_bytes_of", lambda _: told[-1])
    return told


def test_under_group_what_has_room_stays_on_the_device(gpu, monkeypatch):
    plan = plan_needing(gpu, "16 bit, group", "flux", quantization="none")
    told = staying_in(gpu, monkeypatch)
    gpu.total = plan.device.highest + WORKING + 2100
    model = gpu.load("flux", offload="group", quantization="none")
    assert told == [2000]  # a twentieth more is left, as for all weights
    assert model.describe().device_bytes == 2000
    assert model.describe().host_bytes == model.size - 2000
    assert model.needed_bytes == plan.device.highest + 2000


def test_nothing_stays_where_only_the_plan_fits(gpu, monkeypatch):
    plan = plan_needing(gpu, "16 bit, group", "flux", quantization="none")
    told = staying_in(gpu, monkeypatch)
    gpu.total = plan.device.highest + WORKING
    gpu.load("flux", offload="group", quantization="none")
    assert told == [0]


def test_after_memory_ran_out_all_blocks_are_streamed_before_a_smaller_plan(gpu, monkeypatch, spec_of):
    plan = plan_needing(gpu, "16 bit, group", "flux", quantization="none")
    told = staying_in(gpu, monkeypatch)
    gpu.total = plan.device.highest + 10_000
    loader = loader_module.Loader(gpu.settings, GPU, gpu.model_cache)
    spec = spec_of("flux", dtype="bfloat16", attention="native", quantization="none", offload="group")
    for expected in (True, False):
        loader.load(spec, Recorder())
        assert gpu.model_cache.get(spec).load_plan.plan == "group"
        gpu.model_cache.remove(spec.id)
        if expected:
            assert loader.planner.step_down(spec)
    assert told[0] > 0
    assert told[1] == 0
    loader.planner.forget(spec)
    loader.load(spec, Recorder())
    assert told[2] == told[0]


def test_blocks_that_stay_make_room_for_another_model(gpu, monkeypatch):
    plan = plan_needing(gpu, "16 bit, group", "flux", quantization="none")
    whole = plan_needing(gpu, "16 bit, none", "sd15", quantization="none").device.highest
    staying_in(gpu, monkeypatch)
    streamed = []
    monkeypatch.setattr(model_cache_module, "stream_all", lambda *_, **__: streamed.append("flux"))
    gpu.total = max(plan.device.highest + WORKING + 2 * whole, whole + 10)
    gpu.load("flux", offload="group", quantization="none")
    gpu.load("sd15", offload="none", quantization="none")
    assert streamed == ["flux"]
    listed = {model.model_id: model.device_bytes for model in gpu.model_cache.resident_models()}
    assert set(listed) == {"flux", "sd15"}
    assert listed["flux"] == 0

"""The auxiliary models of a request are in the memory plan of the model that it loads."""

from __future__ import annotations

import dataclasses

import pytest

from app.core.inputs import InputRef
from app.engines.diffusers import auxiliary_loader as auxiliary_loader_module
from app.engines.diffusers.load import auxiliaries as auxiliaries_module
from app.engines.diffusers.load.weights import count_tensors
from app.engines.diffusers.loader import Loader
from app.engines.diffusers.memory import planner as planner_module
from app.errors import OutOfMemory
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.memory.conftest import GPU
from tools.tiny_models.auxiliaries import build_controlnet

LINE = {"dtype": "bfloat16", "attention": "native"}


@pytest.fixture
def beside(gpu, tiny, tmp_path, spec_of, ask, monkeypatch):
    """Loads sdxl on a GPU that is not there for a request with a ControlNet; `bytes` are those of the net."""
    net = build_controlnet("sdxl", tiny / "sdxl", tmp_path / "edges")
    spec = spec_of(net, kind="controlnet", family="sdxl")
    gpu.settings = dataclasses.replace(gpu.settings, auxiliaries={spec.id: spec})
    picture = InputRef(role="control", sha256="0" * 64, width=64, height=64, model=spec.id)

    class Beside:
        bytes = count_tensors(net.glob("*.safetensors")).bytes_at(2)
        request = ask(pictures=(picture,))
        model = spec_of("sdxl", **LINE)
        net_spec = spec
        loader = Loader(gpu.settings, GPU, gpu.model_cache)

        def load(self, *, plain=False):
            self.loader.load(self.model, Recorder(), None, None if plain else self.request)
            return gpu.model_cache.get(self.model)

        def plans(self, *, plain=False):
            """All plans by label, as the planner reckons them on a GPU with memory for everything."""
            gpu.total, found = 10**12, {}
            real = planner_module.choose

            def remember(candidates, room):
                found.update({plan.label: plan for plan in reversed(candidates)})
                return real(candidates, room)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(planner_module, "choose", remember)
                self.load(plain=plain)
            gpu.model_cache.remove("sdxl")
            self.loader.planner.forget(self.model)
            return found

    monkeypatch.setattr(auxiliary_loader_module.LoadedModel, "move", lambda *_, **__: None)
    return Beside()


def test_a_plan_counts_them_on_the_device_whatever_the_placement(beside):
    alone, together = beside.plans(plain=True), beside.plans()
    for label, plan in together.items():
        assert plan.device.drawing - alone[label].device.drawing == pytest.approx(1.05 * beside.bytes, rel=1e-3), label
        assert plan.ram.drawing - alone[label].ram.drawing == pytest.approx(beside.bytes, rel=1e-3), label
        assert plan.device.loading == alone[label].device.loading


def test_room_is_planned_before_the_model_is_loaded(beside, gpu):
    """What fits alone is placed so that the ControlNet has room, in the same form: the pictures stay the same."""
    gpu.total = beside.plans(plain=True)["16 bit, none"].device.highest
    assert (beside.load(plain=True).load_plan.form, beside.load(plain=True).load_plan.plan) == ("16 bit", "none")
    gpu.model_cache.remove("sdxl")
    beside.loader.planner.forget(beside.model)
    loaded = beside.load()
    assert loaded.load_plan.form == "16 bit"
    assert loaded.load_plan.plan != "none"
    assert not beside.loader.planner.has_form_for_auxiliaries(beside.model)


def test_another_form_only_where_no_placement_of_the_usual_one_fits(beside, gpu, monkeypatch):
    together, alone = beside.plans(), beside.plans(plain=True)
    gpu.total = together["float8, none"].device.highest
    assert gpu.total >= alone["16 bit, none"].device.highest
    real = planner_module.plans

    def without_offload(model, forms, wish):
        return [plan for plan in real(model, forms, wish) if plan.placement == "none"]

    monkeypatch.setattr(planner_module, "plans", without_offload)
    loaded = beside.load()
    assert loaded.load_plan.form == "float8"
    assert beside.loader.planner.has_form_for_auxiliaries(beside.model)


def test_a_model_that_is_there_is_loaded_again_where_they_have_no_room(beside, gpu):
    gpu.total = beside.plans(plain=True)["16 bit, none"].device.highest
    model = beside.load(plain=True)
    assert beside.loader.lacks_room(model, beside.request, Recorder())
    del model
    gpu.model_cache.remove("sdxl")
    model = beside.load()
    assert model.load_plan.plan != "none"
    gpu.total = 0  # other programs took it: loading once more would help nothing
    assert not beside.loader.lacks_room(model, beside.request, Recorder())


def test_what_fits_under_no_plan_is_refused_before_anything_is_loaded(beside, gpu, monkeypatch):
    together = beside.plans()
    gpu.total = min(plan.device.highest for plan in together.values()) - 1
    gpu.asked.clear()
    with pytest.raises(OutOfMemory):
        beside.load()
    assert gpu.asked == []
    assert beside.load(plain=True) is not None


def test_missing_files_end_the_job_before_the_model_is_loaded(beside, gpu, monkeypatch):
    gpu.total = 10**12
    monkeypatch.setattr(auxiliaries_module, "files_in", lambda *_: None)
    with pytest.raises(auxiliaries_module.InputModelUnavailable, match="edges cannot be used"):
        beside.load()
    assert gpu.asked == []

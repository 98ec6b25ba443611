"""Parts that wait in main memory: nothing is copied out of the device, and a preview moves no denoiser."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from accelerate.hooks import CpuOffload, add_hook_to_module

from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import preview
from app.engines.diffusers.load import offload as offload_module
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.model_offload import offload_parts, staying_beside
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.memory import planner as planner_module
from tests.engines.diffusers.generate.control import Recorder

CARD, CPU = torch.device("cuda:0"), torch.device("cpu")


class Part(torch.nn.Linear):
    """A part for a card that is not there: its weights become copies on the way in, and `copied_out` on the way out."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.moves: list[str] = []

    def to(self, device, dtype=None):
        self.moves.append(torch.device(device).type)
        for parameter in self.parameters():
            parameter.data = parameter.data.clone() if dtype is None else parameter.data.to(dtype)
        return self


class Pipeline:
    def __init__(self, *parts: torch.nn.Module) -> None:
        self.components = {f"part {number}": part for number, part in enumerate(parts)} | {"tokenizer": object()}

    def enable_model_cpu_offload(self, device):
        self.device = device


@pytest.fixture
def part() -> Part:
    made = Part()
    offload_parts(Pipeline(made), CARD)
    return made


def addresses(part):
    return [parameter.data_ptr() for parameter in part.parameters()]


def test_the_way_back_copies_nothing(part):
    at_home = addresses(part)
    for _ in range(2):
        part.to(CARD)
        assert addresses(part) != at_home
        part.to("cpu")
        assert addresses(part) == at_home
    assert part.moves == ["cuda", "cuda"]


def test_staying_on_the_card_keeps_the_originals(part):
    at_home = addresses(part)
    part.to(CARD)
    part.to(CARD)
    part.to(CPU)
    assert addresses(part) == at_home


def test_weights_that_changed_their_dtype_are_copied(part):
    """SDXL widens its VAE to decode, and narrows it afterwards."""
    at_home = addresses(part)
    part.to(CARD)
    part.to(CARD, torch.float64)
    part.to(CPU)
    assert part.weight.dtype is torch.float64
    assert addresses(part) != at_home
    assert part.moves == ["cuda", "cuda", "cpu"]


def test_quantised_weights_are_left_to_their_library():
    class Quantised(torch.nn.Parameter):
        pass

    part = Part()
    part.weight = Quantised(part.weight.data)
    offload_parts(Pipeline(part), CARD)
    assert "to" not in vars(part)


def test_a_hook_is_back_after_a_run_beside_another_part():
    part = Part()
    add_hook_to_module(part, CpuOffload(CARD))
    hook, part.moves = part._hf_hook, []

    def fail() -> None:
        with staying_beside(part):
            assert not hasattr(part, "_hf_hook")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert part._hf_hook is hook
    assert part.moves == ["cuda"]


@pytest.fixture
def offloaded(settings, monkeypatch):
    """An engine that offloads by the placement `model`, to the CPU, whose hooks are those of a GPU."""
    real = planner_module.plans

    def only_model(model, forms, wish="auto"):
        forms = [dataclasses.replace(form, possible=("model",)) for form in forms]
        return real(dataclasses.replace(model, on_gpu=True), forms, "model")

    monkeypatch.setattr(planner_module, "plans", only_model)
    return DiffusersEngine(settings)


@pytest.mark.parametrize("family", ["flux", "sdxl"])
def test_a_preview_does_not_run_the_hook_of_the_vae(settings, offloaded, spec_of, ask, monkeypatch, family):
    """That hook sends the denoiser back to main memory."""
    for name in ("FIRST_AFTER_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS", "SHOWN_AT_LEAST_SECONDS"):
        monkeypatch.setattr(preview, name, 0.0)
    asked, real = [], CpuOffload.pre_forward

    def note(self, module, *arguments, **options):
        asked.append(type(module).__name__)
        return real(self, module, *arguments, **options)

    monkeypatch.setattr(CpuOffload, "pre_forward", note)
    control = Recorder()
    for _ in range(2):
        made = offloaded.generate(spec_of(family), ask(num_inference_steps=4), control)
    assert offloaded.resident()[0].offload == "model"
    assert [step for step, _ in control.previews] == [1, 2, 3] * 2
    assert asked.count("AutoencoderKL") == 2  # the two pictures
    assert asked[-1] == "AutoencoderKL"
    monkeypatch.undo()
    wanted = DiffusersEngine(settings).generate(spec_of(family), ask(num_inference_steps=4), Recorder())
    difference = np.abs(made.images[0].pixels.astype(int) - wanted.images[0].pixels)
    assert difference.max() <= 1  # mapped weights are aligned otherwise than copies, which a CPU rounds differently


def test_the_placement_model_keeps_the_originals(monkeypatch):
    seen = []
    monkeypatch.setattr(offload_module, "offload_parts", lambda pipeline, device: seen.append(device))
    place(Pipeline(), LoadPlan(CARD, torch.float16, plan="model"))
    assert seen == [CARD]

"""A scheduler asked for draws what a plain script with that class draws, and leaves nothing behind."""

from __future__ import annotations

import inspect
import json

import diffusers
import numpy as np
import pytest
import torch

from app.core.families.schedulers import fitting
from app.core.schedulers.table import BY_NAME, DIFFUSION_SCHEDULERS, FLOW_SCHEDULERS
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate
from app.errors import Cancelled, UnsupportedScheduler
from tests.engines.diffusers.generate.control import Recorder
from tools.families_report import inputs_of, pictures_of, request_of, requested, small_edits, spec_of
from tools.tiny_models.samples import SAMPLES

SEED = 5
CLOSE = 1e-5  # of 0 to 1, before rounding
ODE, SDE = {"algorithm_type": "dpmsolver++"}, {"algorithm_type": "sde-dpmsolver++"}
MULTISTEP, SINGLESTEP = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
# As a script would choose them, by the words of diffusers' documentation.
DIFFUSION = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "dpmpp_2m": (MULTISTEP, ODE),
    "dpmpp_2m_sde": (MULTISTEP, SDE),
    "dpmpp_3m": (MULTISTEP, ODE | {"solver_order": 3}),
    "dpmpp_3m_sde": (MULTISTEP, SDE | {"solver_order": 3}),
    "dpmpp_2s": (SINGLESTEP, ODE),
    "dpmpp_sde": (SINGLESTEP, SDE),
    "deis": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
FLOW = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "lcm": ("FlowMatchLCMScheduler", {}),
    "dpmpp_2m": (MULTISTEP, ODE),
    "dpmpp_2m_sde": (MULTISTEP, SDE),
    "dpmpp_2s": (SINGLESTEP, ODE),
    "deis": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
STEPS = 5
KINDS = [(family, name) for family in ("sd15", "sdxl", "sd21") for name in DIFFUSION]
KINDS += [(family, name) for family in ("sd35", "flux") for name in FLOW if (family, name) != ("flux", "heun")]


OTHER_FLOWS = ("flux-kontext", "chroma", "qwen-image", "z-image", "flux2-klein", "lumina2", "auraflow", "sana", "wan")


@pytest.fixture(scope="module")
def engine(tiny):
    """One for all tests, so that a family is loaded once."""
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny))


@pytest.fixture(scope="module")
def plain():
    """Pictures by family, drawn before any scheduler was replaced."""
    return {}


@pytest.fixture
def drawn(engine, built, monkeypatch):
    """The picture of a family before rounding, and the generation."""

    def run(family, task="txt2img", **settings):
        seen, drawing = [], generate.draw
        monkeypatch.setattr(generate, "draw", lambda *given: seen.append(drawing(*given)) or seen[-1])
        arguments = requested(family, task) | {"num_inference_steps": STEPS}
        request = request_of(family, task, arguments).model_copy(update=settings)
        pipeline_class = SAMPLES[family].classes.get(task, SAMPLES[family].pipeline)
        try:
            with small_edits(pipeline_class):
                made = engine.generate(spec_of(family, built(family)), request, Recorder(), inputs_of(arguments))
        finally:
            monkeypatch.setattr(generate, "draw", drawing)
        return seen[-1].pictures[0], made

    return run


@pytest.fixture(scope="module")
def script(built):
    """The picture of a plain script whose scheduler is `change` of the pipeline's own. A family is loaded once."""
    pipelines = {}

    def draw(family, change, task="txt2img"):
        if family not in pipelines:
            pipelines[family] = diffusers.DiffusionPipeline.from_pretrained(built(family), local_files_only=True)
            pipelines[family].set_progress_bar_config(disable=True)
        pipeline = pipelines[family]
        arguments = requested(family, task) | {"num_inference_steps": STEPS}
        own, pipeline.scheduler = pipeline.scheduler, change(pipeline.scheduler.config)
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                output = pipeline(**arguments, generator=torch.Generator("cpu").manual_seed(SEED), output_type="np")
        finally:
            pipeline.scheduler = own
        return pictures_of(output)[0]

    return draw


def direct_class(family, name):
    if family not in ("sd35", "flux"):
        kind, options = DIFFUSION[name]
        return lambda config: getattr(diffusers, kind).from_config(config, **options)
    kind, options = FLOW[name]
    if kind.startswith("FlowMatch"):
        return lambda config: getattr(diffusers, kind).from_config(config, **options)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    return lambda config: getattr(diffusers, kind).from_config(config, flow_shift=config.shift, **flow, **options)


@pytest.mark.parametrize(("family", "name"), KINDS)
def test_it_draws_what_a_script_with_that_class_draws(drawn, plain, script, family, name):
    if family not in plain:
        plain[family], _ = drawn(family)
    picture, made = drawn(family, scheduler=name)
    assert np.isfinite(picture).all()
    assert np.abs(picture - script(family, direct_class(family, name))).max() <= CLOSE
    assert made.versions["scheduler"] == (FLOW if family in ("sd35", "flux") else DIFFUSION)[name][0]
    after, _ = drawn(family)
    assert np.array_equal(plain[family], after)  # to the bit


def test_every_scheduler_of_the_table_is_compared():
    assert set(DIFFUSION) == set(DIFFUSION_SCHEDULERS)
    assert set(FLOW) == set(FLOW_SCHEDULERS)


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_the_table_says_what_the_classes_take(kind):
    for scheduler in BY_NAME.values():
        if (stated := scheduler.classes.get(kind)) is None:
            continue
        takes = inspect.signature(getattr(diffusers, stated.name).__init__).parameters
        assert set(stated.options) <= set(takes)
        if kind == "diffusion":  # solvers of flows choose their noise levels themselves
            assert stated.spacing == ("timestep_spacing" in takes)
            assert stated.sigmas == ("use_karras_sigmas" in takes)
        assert not stated.sigmas or {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"} <= set(takes)


CHANGES = [
    ("sd15", {"scheduler": "dpmpp_2m", "sigmas": "karras"}, MULTISTEP, ODE | {"use_karras_sigmas": True}),
    (
        "sd15",
        {"scheduler": "euler", "sigmas": "exponential"},
        "EulerDiscreteScheduler",
        {"use_exponential_sigmas": True},
    ),
    ("sdxl", {"sigmas": "beta"}, "EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    ("sdxl", {"timestep_spacing": "trailing"}, "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("sd35", {"shift": 6.0}, "FlowMatchEulerDiscreteScheduler", {"shift": 6.0}),
    ("sd35", {"sigmas": "karras"}, "FlowMatchEulerDiscreteScheduler", {"use_karras_sigmas": True}),
    ("flux", {"shift": 1.5}, "FlowMatchEulerDiscreteScheduler", {"shift": 1.5, "use_dynamic_shifting": False}),
]


@pytest.mark.parametrize(("family", "settings", "kind", "options"), CHANGES)
def test_each_setting_draws_what_a_script_with_that_option_draws(drawn, script, family, settings, kind, options):
    plain, _ = drawn(family)
    picture, _ = drawn(family, **settings)
    direct = script(family, lambda config: getattr(diffusers, kind).from_config(config, **options))
    assert np.abs(picture - direct).max() <= CLOSE
    assert np.abs(picture - plain).max() > CLOSE


@pytest.mark.parametrize("family", OTHER_FLOWS)
def test_each_flow_family_draws_with_all_that_fit_it(drawn, built, family):
    task = "edit" if family == "flux-kontext" else "txt2video" if family == "wan" else "txt2img"
    pipeline = diffusers.DiffusionPipeline.load_config(built(family), local_files_only=True)
    own, config = pipeline["scheduler"][1], read_config(built(family))
    names = fitting(SAMPLES[family].pipeline, own, config)
    assert set(names) | {"heun"} == set(FLOW_SCHEDULERS)
    pictures = [drawn(family, task, scheduler=name)[0] for name in names]
    assert all(np.isfinite(picture).all() for picture in pictures)
    assert all(np.abs(picture - pictures[0]).max() > CLOSE for picture in pictures[1:])


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd35", "flux"])
@pytest.mark.parametrize("task", ["img2img", "inpaint"])
def test_it_starts_from_a_picture_too(drawn, family, task):
    plain, _ = drawn(family, task)
    solved, made = drawn(family, task, scheduler="dpmpp_2m")
    assert np.isfinite(solved).all()
    assert made.versions["scheduler"] == MULTISTEP
    assert np.abs(solved - plain).max() > CLOSE
    assert np.array_equal(drawn(family, task)[0], plain)


@pytest.mark.parametrize("end", [RuntimeError("broken"), Cancelled()])
def test_the_own_scheduler_is_back_after_a_call_that_ended_early(drawn, engine, built, monkeypatch, end):
    plain, _ = drawn("sd15")
    with monkeypatch.context() as patched:
        patched.setattr(diffusers.UniPCMultistepScheduler, "step", lambda *_, **__: (_ for _ in ()).throw(end))
        with pytest.raises(type(end)):
            drawn("sd15", scheduler="unipc")
    pipeline = engine._model_cache.get(spec_of("sd15", built("sd15"))).pipeline
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    assert np.array_equal(drawn("sd15")[0], plain)


def test_merged_jobs_draw_what_each_draws_alone(engine, built, calls):
    spec, settings = spec_of("sdxl", built("sdxl")), {"scheduler": "dpmpp_2m_sde", "sigmas": "karras"}
    arguments = requested("sdxl", "txt2img")
    request = request_of("sdxl", "txt2img", arguments).model_copy(update=settings)
    requests = [request.model_copy(update={"seed": seed, "prompt": f"picture {seed}"}) for seed in (3, 9)]
    made = engine.generate_merged(spec, requests, [Recorder(), Recorder()])
    ((_, together),) = calls
    for each, picture, generation in zip(requests, together, made, strict=True):
        engine.generate(spec, each, Recorder())
        assert np.abs(picture - calls[-1][1][0]).max() <= CLOSE
        assert generation.versions["scheduler"] == MULTISTEP


REFUSED = [
    ("flux", {"scheduler": "euler_a"}, "takes euler, dpmpp_2m.*not euler_a"),
    ("flux", {"scheduler": "heun"}, "not heun"),
    ("sd15", {"scheduler": "euler_a", "sigmas": "karras"}, "euler_a has no choice of sigmas"),
    ("sd15", {"shift": 3.0}, "shift is for flow models"),
    ("sd35", {"timestep_spacing": "trailing"}, "no timestep_spacing"),
    ("lcm", {"scheduler": "euler"}, "keeps its own scheduler"),
    ("sana-sprint", {"shift": 2.0}, "keeps its own scheduler"),
]


@pytest.mark.parametrize(("family", "settings", "sentence"), REFUSED)
def test_what_does_not_fit_has_a_code_of_its_own(drawn, family, settings, sentence):
    with pytest.raises(UnsupportedScheduler, match=sentence) as refused:
        drawn(family, **settings)
    assert refused.value.code == "unsupported_scheduler"


def read_config(folder):
    return json.loads((folder / "scheduler" / "scheduler_config.json").read_text())

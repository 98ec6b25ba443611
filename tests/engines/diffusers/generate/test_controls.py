"""ControlNets: equal to diffusers' own pipelines, over the weights that are loaded already, and without a trace."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from app.core.catalog import ModelOptions, ModelSpec
from app.core.inputs import InputRef
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import InputModelIncompatible, InputModelUnavailable, UnsupportedTask
from app.files.control_pictures import canny
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_mask, a_picture
from tools.tiny_models.auxiliaries import (
    CONTROLNETS,
    build_controlnet,
    build_depth_detector,
    build_flux_control,
)
from tools.tiny_models.lora import make_lora

SIDE = 32
PROMPT = "a red cat under a tree"
_MULTI = {"weight": 0.4, "start": 0.0, "end": 0.5}


class Case(NamedTuple):
    """`net`: what it is built like; `base`: the checkpoint; `pipeline`: the class of a plain script."""

    net: str
    base: str
    task: str
    pipeline: str
    modes: tuple[Any, ...] = (None, None)
    periods: bool = True
    several: bool = True


CASES = [
    Case("sd15", "sd15", "txt2img", "StableDiffusionControlNetPipeline"),
    Case("sd15", "sd15", "img2img", "StableDiffusionControlNetImg2ImgPipeline"),
    Case("sd15", "sd15", "inpaint", "StableDiffusionControlNetInpaintPipeline"),
    Case("sdxl", "sdxl", "txt2img", "StableDiffusionXLControlNetPipeline"),
    Case("sdxl", "sdxl", "img2img", "StableDiffusionXLControlNetImg2ImgPipeline"),
    Case("sdxl", "sdxl", "inpaint", "StableDiffusionXLControlNetInpaintPipeline"),
    Case("sdxl-union", "sdxl", "txt2img", "StableDiffusionXLControlNetUnionPipeline", ("canny", "depth")),
    Case("sdxl-union", "sdxl", "img2img", "StableDiffusionXLControlNetUnionImg2ImgPipeline", ("canny", "depth")),
    Case("sdxl-union", "sdxl", "inpaint", "StableDiffusionXLControlNetUnionInpaintPipeline", ("canny", "depth")),
    Case("sd35", "sd35", "txt2img", "StableDiffusion3ControlNetPipeline"),
    Case("flux", "flux", "txt2img", "FluxControlNetPipeline"),
    Case("flux", "flux", "img2img", "FluxControlNetImg2ImgPipeline"),
    Case("flux", "flux", "inpaint", "FluxControlNetInpaintPipeline"),
    Case("flux-union", "flux", "txt2img", "FluxControlNetPipeline", ("canny", "depth")),
    Case("qwen-image", "qwen-image", "txt2img", "QwenImageControlNetPipeline"),
    Case("z-image", "z-image", "txt2img", "ZImageControlNetPipeline", periods=False, several=False),
    Case("sana", "sana", "txt2img", "SanaControlNetPipeline", periods=False, several=False),
]
NUMBERS = {
    "sdxl-union": {"canny": 3, "depth": 1},
    "flux-union": {"canny": 0, "depth": 2},
}


@pytest.fixture(scope="module")
def nets(tiny, built, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("controlnets")
    bases = {"sdxl-union": "sdxl", "flux-union": "flux"}
    return {name: build_controlnet(name, built(bases.get(name, name)), folder / f"{name}-net") for name in CONTROLNETS}


def net_spec(folder: Path, **options: Any) -> ModelSpec:
    options = {"kind": "controlnet", **options}
    return ModelSpec(
        id=folder.name,
        name=folder.name,
        repo=str(folder),
        description="",
        source="local",
        options=ModelOptions.model_validate(options),
    )


@pytest.fixture(scope="module")
def drawing(tiny, nets):
    """One engine for all of them, as a worker has it."""
    auxiliaries = {folder.name: net_spec(folder) for folder in nets.values()}
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, auxiliaries=auxiliaries))


def a_control(turned=False) -> np.ndarray:
    picture = a_picture(SIDE, SIDE)
    return picture[::-1].copy() if turned else picture


def ref(role: str, **more: Any) -> InputRef:
    return InputRef(role=role, sha256="0" * 64, width=SIDE, height=SIDE, **more)


def request_for(ask, case: Case, controls: list[dict[str, Any]], **changes: Any):
    """The request with its input pictures."""
    pictures, inputs = [], {}
    if case.task != "txt2img":
        pictures.append(ref("image"))
        inputs["image"] = a_picture(SIDE, SIDE)
    if case.task == "inpaint":
        pictures.append(ref("mask"))
        inputs["mask"] = a_mask(SIDE, SIDE)
    for index, control in enumerate(controls):
        pictures.append(ref("control", model=f"{case.net}-net", mode=case.modes[index], **control))
        inputs["ctrl" if index == 0 else f"ctrl-{index + 1}"] = a_control(index > 0)
    more = {} if case.task == "txt2img" else {"strength": 0.5, "num_inference_steps": 4}
    settings = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": SIDE, "height": SIDE, **more, **changes}
    return ask(task=case.task, pictures=tuple(pictures), **settings), inputs


def by_a_script(tiny, nets, case: Case, controls: list[dict[str, Any]]) -> np.ndarray:
    kind = CONTROLNETS_CLASS[case.net]
    net = getattr(diffusers, kind).from_pretrained(nets[case.net])
    count = len(controls)
    net_arg: Any = net
    if count > 1:
        from diffusers import QwenImageMultiControlNetModel

        single = case.net in ("sdxl-union",)
        net_arg = net if single else QwenImageMultiControlNetModel([net]) if case.net == "qwen-image" else [net, net]
    pipe = getattr(diffusers, case.pipeline).from_pretrained(tiny / case.base, controlnet=net_arg, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    one = lambda values: values[0] if len(values) == 1 else values  # noqa: E731 - as a script would
    images = [Image.fromarray(a_control(index > 0)) for index in range(count)]
    named = "image" if case.task == "txt2img" and case.base in ("sd15", "sdxl") and "Union" not in case.pipeline else ""
    more: dict[str, Any] = {named or "control_image": one(images)}
    more["controlnet_conditioning_scale"] = one([each.get("weight", 1.0) for each in controls])
    if case.periods:
        more["control_guidance_start"] = one([each.get("start", 0.0) for each in controls])
        more["control_guidance_end"] = one([each.get("end", 1.0) for each in controls])
    if case.modes[0] is not None:
        more["control_mode"] = one([NUMBERS[case.net][mode] for mode in case.modes[:count]])
    elif case.net == "flux" and count > 1:
        more["control_mode"] = [None] * count
    if case.task != "txt2img":
        more |= {"image": Image.fromarray(a_picture(SIDE, SIDE)), "strength": 0.5}
    if case.task == "inpaint":
        more["mask_image"] = Image.fromarray(a_mask(SIDE, SIDE))
    guidance = {"true_cfg_scale": 4.0, "negative_prompt": " "} if case.base == "qwen-image" else {"guidance_scale": 4.0}
    torch.manual_seed(7)  # SD 3 and Sana encode the control picture with torch's own generator
    return pipe(
        PROMPT,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2 if case.task == "txt2img" else 4,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
        **guidance,
        **more,
    ).images[0]


CONTROLNETS_CLASS = {
    "sd15": "ControlNetModel",
    "sdxl": "ControlNetModel",
    "sdxl-union": "ControlNetUnionModel",
    "sd35": "SD3ControlNetModel",
    "flux": "FluxControlNetModel",
    "flux-union": "FluxControlNetModel",
    "qwen-image": "QwenImageControlNetModel",
    "z-image": "ZImageControlNetModel",
    "sana": "SanaControlNetModel",
}


ONE_OR_TWO = [  # with a start image only two, which one is part of
    (case, count) for case in CASES for count in (1, 2) if count == 2 * case.several or case.task == "txt2img"
]


@pytest.mark.parametrize(
    ("case", "count"),
    [(case, count) for case, count in ONE_OR_TWO if count == 1 or case.several],
    ids=lambda value: f"{value.net}-{value.task}" if isinstance(value, Case) else str(value),
)
def test_it_equals_a_plain_script(tiny, built, nets, drawing, spec_of, ask, case, count):
    built(case.base)
    later = {"start": 0.5} if case.periods else {}
    controls = [{"weight": 0.7, **later}] if count == 1 else [{}, _MULTI]
    request, inputs = request_for(ask, case, controls)
    made = drawing.generate(spec_of(case.base), request, Recorder(), inputs)
    wanted = by_a_script(tiny, nets, case, controls)
    pixels, wanted = made.images[0].pixels, (wanted * 255).round().astype(np.uint8)
    new = a_mask(SIDE, SIDE) == 255 if case.task == "inpaint" else np.full((SIDE, SIDE), True)
    assert np.array_equal(pixels[new], wanted[new])
    if count == 1 and case.net != "sana":  # the tiny one has one layer, and a control begins at the second
        without = drawing.generate(spec_of(case.base), request_for(ask, case, [])[0], Recorder())
        assert not np.array_equal(without.images[0].pixels, pixels)
    assert made.versions["pipeline"] == case.pipeline
    assert [each["weight"] for each in made.effective["inputs_used"]] == [each.get("weight", 1.0) for each in controls]
    assert all(each["revision"].startswith("sampled-sha256:") for each in made.effective["inputs_used"])


@pytest.fixture(scope="module")
def flux_control(tmp_path_factory) -> Path:
    return build_flux_control(tmp_path_factory.mktemp("own") / "flux-control")


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("txt2img", "FluxControlPipeline"),
        ("img2img", "FluxControlImg2ImgPipeline"),
        ("inpaint", "FluxControlInpaintPipeline"),
    ],
)
def test_a_control_picture_of_the_models_own_equals_a_plain_script(flux_control, drawing, spec_of, ask, task, kind):
    request, inputs = request_for(ask, Case("", "", task, kind), [])
    request = request.model_copy(update={"pictures": (*request.pictures, ref("control", processor="canny"))})
    made = drawing.generate(spec_of(flux_control), request, Recorder(), {**inputs, "ctrl": a_control()})
    pipe = getattr(diffusers, kind).from_pretrained(flux_control)
    pipe.set_progress_bar_config(disable=True)
    more: dict[str, Any] = (
        {} if task == "txt2img" else {"image": Image.fromarray(a_picture(SIDE, SIDE)), "strength": 0.5}
    )
    more |= {"mask_image": Image.fromarray(a_mask(SIDE, SIDE))} if task == "inpaint" else {}
    torch.manual_seed(7)
    wanted = pipe(
        PROMPT,
        control_image=Image.fromarray(canny(a_control())),
        width=SIDE,
        height=SIDE,
        num_inference_steps=2 if task == "txt2img" else 4,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
        **more,
    ).images[0]
    new = a_mask(SIDE, SIDE) == 255 if task == "inpaint" else np.full((SIDE, SIDE), True)
    assert np.array_equal(made.images[0].pixels[new], (wanted * 255).round().astype(np.uint8)[new])
    with pytest.raises(UnsupportedTask, match="needs one control picture"):
        drawing.generate(spec_of(flux_control), request_for(ask, Case("", "", task, kind), [])[0], Recorder(), inputs)


def test_a_control_leaves_no_trace_in_other_jobs(drawing, spec_of, ask, tiny, tmp_path):
    """Random sequences of jobs with and without controls, LoRAs and pictures draw what each draws alone."""
    make_lora(tiny / "sd15", tmp_path / "warm.safetensors")
    kinds = {
        "plain": (Case("sd15", "sd15", "txt2img", ""), [], {}),
        "control": (Case("sd15", "sd15", "txt2img", ""), [{"weight": 0.7}], {}),
        "two": (Case("sd15", "sd15", "img2img", ""), [{}, _MULTI], {}),
        "lora": (Case("sd15", "sd15", "txt2img", ""), [], {"loras": [{"id": "warm", "scale": 1.0}]}),
        "both": (Case("sd15", "sd15", "txt2img", ""), [{}], {"loras": [{"id": "warm", "scale": 1.0}]}),
    }

    def draw(name: str, engine: DiffusersEngine) -> bytes:
        case, controls, changes = kinds[name]
        request, inputs = request_for(ask, case, controls, **changes)
        return engine.generate(spec_of("sd15"), request, Recorder(), inputs).images[0].pixels.tobytes()

    settings = replace(drawing._settings, loras_dir=tmp_path)
    alone = {name: draw(name, DiffusersEngine(settings)) for name in kinds}
    assert len(set(alone.values())) == len(kinds)
    shared, order = DiffusersEngine(settings), random.Random(5)
    for name in order.choices(list(kinds), k=20):
        assert draw(name, shared) == alone[name], name


def test_one_net_serves_several_models_and_is_listed_with_them(tiny, nets, spec_of, ask, drawing):
    engine = DiffusersEngine(drawing._settings)
    request, inputs = request_for(ask, Case("sd15", "sd15", "txt2img", ""), [{}])
    twin = spec_of("sd15").model_copy(update={"id": "twin"})
    for spec in (spec_of("sd15"), twin):
        engine.generate(spec, request, Recorder(), inputs)
    resident = {each.model_id: each for each in engine.resident()}
    assert set(resident) == {"sd15", "twin", "sd15-net"}
    assert resident["sd15-net"].host_bytes > 0
    engine.unload("sd15-net")
    assert {each.model_id for each in engine.resident()} == {"sd15", "twin"}


def test_the_bound_on_loaded_models_counts_no_auxiliaries(drawing, spec_of, ask):
    engine = DiffusersEngine(replace(drawing._settings, max_loaded_models=1))
    request, inputs = request_for(ask, Case("sdxl", "sdxl", "txt2img", ""), [{}])
    engine.generate(spec_of("sdxl"), request, Recorder(), inputs)
    engine.load(spec_of("flux"), Recorder())
    assert [each.model_id for each in engine.resident()] == ["sdxl-net", "flux"]


def test_what_does_not_fit_is_refused_and_the_model_still_draws(drawing, spec_of, ask):
    request, inputs = request_for(ask, Case("sdxl", "sd15", "txt2img", ""), [{}])
    with pytest.raises(InputModelIncompatible, match="cross_attention_dim is 64"):
        drawing.generate(spec_of("sd15"), request, Recorder(), inputs)
    request, inputs = request_for(ask, Case("flux", "sd15", "txt2img", ""), [{}])
    with pytest.raises(InputModelIncompatible, match="FluxControlNetModel"):
        drawing.generate(spec_of("sd15"), request, Recorder(), inputs)
    request, inputs = request_for(ask, Case("z-image", "z-image", "txt2img", ""), [{"end": 0.5}])
    with pytest.raises(InputModelIncompatible, match="works in all steps"):
        drawing.generate(spec_of("z-image"), request, Recorder(), inputs)
    request, inputs = request_for(ask, Case("gone", "sd15", "txt2img", ""), [{}])
    with pytest.raises(InputModelUnavailable, match="no longer in the catalogue"):
        drawing.generate(spec_of("sd15"), request, Recorder(), inputs)
    drawing.generate(spec_of("sd15"), ask(), Recorder())


def test_a_net_without_safetensors_is_refused(tiny, nets, tmp_path, spec_of, ask):
    broken = tmp_path / "broken"
    shutil.copytree(nets["sd15"], broken)
    for file in broken.glob("*.safetensors"):
        file.rename(broken / "diffusion_pytorch_model.bin")
    engine = DiffusersEngine(
        EngineSettings(root=tiny, model_cache_dir=tiny, auxiliaries={"sd15-net": net_spec(broken)})
    )
    request, inputs = request_for(ask, Case("sd15", "sd15", "txt2img", ""), [{}])
    with pytest.raises(InputModelUnavailable, match="never loaded"):
        engine.generate(spec_of("sd15"), request, Recorder(), inputs)


def test_a_control_of_a_masked_area_is_cut_with_it(drawing, spec_of, ask):
    """The control picture's part, in the size that is drawn, has the effect; the rest of it has none."""
    case = Case("sd15", "sd15", "inpaint", "")
    request, inputs = request_for(ask, case, [{}], inpaint_area="masked", inpaint_padding=0)
    mask = np.zeros((64, 64), np.uint8)
    mask[32:, 32:] = 255
    inputs |= {"image": a_picture(64, 64), "mask": mask, "ctrl": a_picture(64, 64)}
    drawn = drawing.generate(spec_of("sd15"), request, Recorder(), inputs).images[0].pixels
    changed = inputs["ctrl"].copy()
    changed[:32] = 255
    same = drawing.generate(spec_of("sd15"), request, Recorder(), {**inputs, "ctrl": changed}).images[0].pixels
    assert np.array_equal(drawn, same)
    changed[40:, 40:] = 255
    other = drawing.generate(spec_of("sd15"), request, Recorder(), {**inputs, "ctrl": changed}).images[0].pixels
    assert not np.array_equal(drawn, other)


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    return build_depth_detector(tmp_path_factory.mktemp("detectors") / "depths")


def test_a_depth_detector_makes_the_control_picture(tiny, nets, detector, spec_of, ask):
    auxiliaries = {
        "sd15-net": net_spec(nets["sd15"]),
        "depths": net_spec(detector, kind="detector", detects="depth"),
    }
    engine = DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, auxiliaries=auxiliaries))
    case = Case("sd15", "sd15", "txt2img", "")
    request, inputs = request_for(ask, case, [{"processor": "depth"}])
    made = engine.generate(spec_of("sd15"), request, Recorder(), inputs).images[0].pixels
    model = transformers.AutoModelForDepthEstimation.from_pretrained(detector)
    processor = transformers.AutoImageProcessor.from_pretrained(detector)
    with torch.no_grad():
        depth = model(**processor(Image.fromarray(inputs["ctrl"]), return_tensors="pt")).predicted_depth
    depth = torch.nn.functional.interpolate(depth[:, None], size=(SIDE, SIDE), mode="bicubic")[0, 0]
    grey = ((depth - depth.min()) / (depth.max() - depth.min()) * 255).round().numpy().astype(np.uint8)
    assert len(np.unique(grey)) > 10
    request, inputs = request_for(ask, case, [{}])
    wanted = engine.generate(spec_of("sd15"), request, Recorder(), {"ctrl": np.repeat(grey[..., None], 3, axis=2)})
    assert np.array_equal(made, wanted.images[0].pixels)
    assert {each.model_id for each in engine.resident()} == {"sd15", "sd15-net", "depths"}


def test_a_processor_without_its_detector_is_refused(drawing, spec_of, ask):
    request, inputs = request_for(ask, Case("sd15", "sd15", "txt2img", ""), [{"processor": "depth"}])
    with pytest.raises(InputModelUnavailable, match="No model of the catalogue makes depth pictures"):
        drawing.generate(spec_of("sd15"), request, Recorder(), inputs)

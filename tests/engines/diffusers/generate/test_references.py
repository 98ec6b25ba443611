"""IP-Adapters and FLUX Redux: equal to a plain script, and without a trace in the next job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from app.core.catalog import ModelOptions, ModelSpec
from app.core.inputs import InputRef
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import InputModelIncompatible, InputModelUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_picture
from tools.tiny_models.auxiliaries import (
    build_controlnet,
    build_ip_adapter,
    build_redux,
    clip_encoder,
    siglip_processor,
)

SIDE = 32
PROMPT = "a red cat under a tree"
FAMILIES = {"sd15": "sd15", "sdxl": "sdxl", "flux": "flux", "sd35": "sd3"}
PIPELINES = {
    "sd15": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "flux": "FluxPipeline",
    "sd35": "StableDiffusion3Pipeline",
}


def aux_spec(folder: Path, **options: Any) -> ModelSpec:
    return ModelSpec(
        id=folder.name,
        name=folder.name,
        repo=str(folder),
        description="",
        source="local",
        options=ModelOptions.model_validate(options),
    )


def adapter_spec(folder: Path, family: str) -> ModelSpec:
    return aux_spec(
        folder, kind="ip-adapter", family=FAMILIES[family], file="adapter.safetensors", image_encoder="image_encoder"
    )


@pytest.fixture(scope="module")
def adapters(tiny, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: build_ip_adapter(name, tiny / name, folder / f"{name}-adapter") for name in FAMILIES}


@pytest.fixture(scope="module")
def redux(tiny, tmp_path_factory) -> Path:
    return build_redux(tiny / "flux", tmp_path_factory.mktemp("redux") / "redux")


@pytest.fixture(scope="module")
def net(tiny, tmp_path_factory) -> Path:
    return build_controlnet("sd15", tiny / "sd15", tmp_path_factory.mktemp("net") / "net")


@pytest.fixture(scope="module")
def drawing(tiny, adapters, redux, net):
    auxiliaries = {folder.name: adapter_spec(folder, name) for name, folder in adapters.items()}
    auxiliaries |= {"redux": aux_spec(redux, kind="redux"), "net": aux_spec(net, kind="controlnet")}
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, auxiliaries=auxiliaries))


def ref(model: str, weight: float | None = None, role: str = "reference") -> InputRef:
    return InputRef(role=role, sha256="0" * 64, width=SIDE, height=SIDE, model=model, weight=weight)


def request_for(ask, *refs: InputRef, **changes: Any):
    settings = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": SIDE, "height": SIDE}
    return ask(pictures=refs, **{**settings, **changes})


def pictures(count: int) -> list[np.ndarray]:
    return [a_picture(SIDE, SIDE), a_picture(SIDE, SIDE)[::-1].copy()][:count]


def inputs_of(count: int) -> dict[str, np.ndarray]:
    return dict(zip(("ref", "ref-2"), pictures(count), strict=False))


def as_images(count: int) -> list[Image.Image]:
    return [Image.fromarray(each) for each in pictures(count)]


def script_with_adapter(tiny, adapters, family: str, weights: list[float]) -> np.ndarray:
    pipe = getattr(diffusers, PIPELINES[family]).from_pretrained(tiny / family)
    pipe.set_progress_bar_config(disable=True)
    count, folder, encoder = len(weights), str(adapters[family]), str(adapters[family] / "image_encoder")
    files = ["adapter.safetensors"] * count
    if family == "sd35":
        from transformers import SiglipVisionModel

        pipe.register_modules(
            image_encoder=SiglipVisionModel.from_pretrained(encoder), feature_extractor=siglip_processor()
        )
        pipe.load_ip_adapter(folder, weight_name=files[0])
        pipe.set_ip_adapter_scale(weights[0])
    elif family == "flux":
        pipe.load_ip_adapter(
            [folder] * count,
            weight_name=files,
            image_encoder_pretrained_model_name_or_path=encoder,
            image_encoder_dtype=torch.float32,
        )
        pipe.set_ip_adapter_scale(weights)
    else:
        pipe.load_ip_adapter(
            [folder] * count, subfolder=[""] * count, weight_name=files, image_encoder_folder="image_encoder"
        )
        pipe.set_ip_adapter_scale(weights)
    images = as_images(count)
    return pipe(
        PROMPT,
        ip_adapter_image=images[0] if family == "sd35" else images,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
    ).images[0]


@pytest.mark.parametrize("weights", [[0.6], [0.6, 1.0]])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_equals_a_plain_script(tiny, adapters, drawing, spec_of, ask, family, weights):
    request = request_for(ask, *(ref(f"{family}-adapter", weight) for weight in weights))
    if family == "sd35" and len(weights) > 1:
        with pytest.raises(InputModelIncompatible, match="takes one reference"):
            drawing.generate(spec_of(family), request, Recorder(), inputs_of(2))
        return
    plain = drawing.generate(spec_of(family), request_for(ask), Recorder()).images[0].pixels
    made = drawing.generate(spec_of(family), request, Recorder(), inputs_of(len(weights)))
    wanted = script_with_adapter(tiny, adapters, family, weights)
    assert np.array_equal(made.images[0].pixels, (wanted * 255).round().astype(np.uint8))
    assert not np.array_equal(made.images[0].pixels, plain)
    assert [each["weight"] for each in made.effective["inputs_used"]] == weights
    after = drawing.generate(spec_of(family), request_for(ask), Recorder()).images[0].pixels
    assert np.array_equal(after, plain)
    pipeline = drawing._resident(spec_of(family)).pipeline
    denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    assert getattr(denoiser, "encoder_hid_proj", None) is None
    assert getattr(denoiser, "image_proj", None) is None
    assert getattr(pipeline, "image_encoder", None) is None


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.8]])
def test_redux_equals_a_plain_script(tiny, redux, drawing, spec_of, ask, weights):
    plain = drawing.generate(spec_of("flux"), request_for(ask), Recorder()).images[0].pixels
    request = request_for(ask, *(ref("redux", weight) for weight in weights))
    made = drawing.generate(spec_of("flux"), request, Recorder(), inputs_of(len(weights))).images[0].pixels
    pipe = diffusers.FluxPipeline.from_pretrained(tiny / "flux")
    pipe.set_progress_bar_config(disable=True)
    from transformers import SiglipVisionModel

    prior = diffusers.FluxPriorReduxPipeline(
        image_encoder=SiglipVisionModel.from_pretrained(redux / "image_encoder"),
        feature_extractor=siglip_processor(),
        image_embedder=diffusers.ReduxImageEncoder.from_pretrained(redux / "image_embedder"),
        text_encoder=pipe.text_encoder,
        tokenizer=pipe.tokenizer,
        text_encoder_2=pipe.text_encoder_2,
        tokenizer_2=pipe.tokenizer_2,
    )
    embeddings = prior(
        as_images(len(weights)),
        prompt=[PROMPT] * len(weights),
        prompt_embeds_scale=weights,
        pooled_prompt_embeds_scale=weights,
    )
    wanted = pipe(
        **embeddings,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
    ).images[0]
    assert np.array_equal(made, (wanted * 255).round().astype(np.uint8))
    assert not np.array_equal(made, plain)
    assert np.array_equal(drawing.generate(spec_of("flux"), request_for(ask), Recorder()).images[0].pixels, plain)


def test_a_reference_and_a_control_together(tiny, adapters, net, drawing, spec_of, ask):
    request = request_for(ask, ref("net", 0.8, "control"), ref("sd15-adapter", 0.5))
    inputs = {"ctrl": pictures(2)[1], "ref": pictures(1)[0]}
    made = drawing.generate(spec_of("sd15"), request, Recorder(), inputs).images[0].pixels
    pipe = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
        tiny / "sd15", controlnet=diffusers.ControlNetModel.from_pretrained(net)
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(str(adapters["sd15"]), subfolder="", weight_name="adapter.safetensors")
    pipe.set_ip_adapter_scale(0.5)
    wanted = pipe(
        PROMPT,
        image=as_images(2)[1],
        ip_adapter_image=as_images(1)[0],
        controlnet_conditioning_scale=0.8,
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
    ).images[0]
    assert np.array_equal(made, (wanted * 255).round().astype(np.uint8))


def test_an_adapter_that_does_not_fit_is_refused_and_leaves_nothing(drawing, adapters, tmp_path, spec_of, ask):
    before = drawing.generate(spec_of("sdxl"), request_for(ask), Recorder()).images[0].pixels
    with pytest.raises(InputModelIncompatible, match="is for sd15"):
        drawing.generate(spec_of("sdxl"), request_for(ask, ref("sd15-adapter")), Recorder(), inputs_of(1))
    claimed = adapter_spec(adapters["sd15"], "sdxl")  # its line says another architecture than its tensors have
    settings = replace(drawing._settings, auxiliaries={"sd15-adapter": claimed})
    engine = DiffusersEngine(settings)
    with pytest.raises(InputModelIncompatible, match="does not fit"):
        engine.generate(spec_of("sdxl"), request_for(ask, ref("sd15-adapter")), Recorder(), inputs_of(1))
    assert np.array_equal(engine.generate(spec_of("sdxl"), request_for(ask), Recorder()).images[0].pixels, before)


def test_an_adapter_without_its_encoder_is_refused(drawing, adapters, tmp_path, spec_of, ask):
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "adapter.safetensors").write_bytes((adapters["sd15"] / "adapter.safetensors").read_bytes())
    engine = DiffusersEngine(replace(drawing._settings, auxiliaries={"lone": adapter_spec(lone, "sd15")}))
    with pytest.raises(InputModelUnavailable, match="the model image_encoder is missing"):
        engine.generate(spec_of("sd15"), request_for(ask, ref("lone")), Recorder(), inputs_of(1))
    clip_encoder().save_pretrained(tmp_path / "elsewhere")
    apart = adapter_spec(lone, "sd15")
    options = apart.options.model_copy(update={"image_encoder": str(tmp_path / "elsewhere")})
    engine = DiffusersEngine(
        replace(drawing._settings, auxiliaries={"lone": apart.model_copy(update={"options": options})})
    )
    assert engine.generate(spec_of("sd15"), request_for(ask, ref("lone")), Recorder(), inputs_of(1)).images

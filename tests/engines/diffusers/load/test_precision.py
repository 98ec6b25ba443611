"""Choice of dtype and attention, and the wider dtype after an overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.engines.diffusers.load import attention
from app.engines.diffusers.load.attention import apply_attention, choose_attention
from app.engines.diffusers.load.errors import warn_once
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.precision import choose_dtype, exact_parts, safer_dtype
from app.errors import GenerationError
from tests.engines.diffusers.generate.control import Recorder

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
TURING, AMPERE, HOPPER = (7, 5), (8, 6), (9, 0)


@pytest.fixture
def capability(monkeypatch):
    warn_once.cache_clear()
    return lambda value: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: value)


@pytest.mark.parametrize(
    ("asked", "pipeline", "gpu", "dtype"),
    [
        ("auto", "StableDiffusionPipeline", HOPPER, torch.float16),
        ("auto", "StableDiffusionXLPipeline", AMPERE, torch.float16),
        ("auto", "StableDiffusionInpaintPipeline", AMPERE, torch.float16),
        ("auto", "FluxPipeline", AMPERE, torch.bfloat16),
        ("auto", "StableDiffusion3Pipeline", HOPPER, torch.bfloat16),
        ("auto", "SanaPipeline", AMPERE, torch.bfloat16),
        ("auto", "FluxPipeline", TURING, torch.float16),
        ("float16", "FluxPipeline", HOPPER, torch.float16),
        ("float32", "StableDiffusionPipeline", HOPPER, torch.float32),
        ("auto", "StableDiffusionPipeline", None, torch.float32),
        ("float16", "StableDiffusionPipeline", None, torch.float32),
        ("bfloat16", "FluxPipeline", None, torch.bfloat16),
    ],
)
def test_precision_by_wish_family_and_device(capability, asked, pipeline, gpu, dtype):
    capability(gpu)
    assert choose_dtype(asked, pipeline, GPU if gpu else CPU) is dtype


def test_what_is_wider_than_what_overflowed(capability):
    capability(HOPPER)
    assert safer_dtype(torch.float16, GPU) is torch.bfloat16
    assert safer_dtype(torch.bfloat16, GPU) is torch.float32
    assert safer_dtype(torch.float32, GPU) is None
    capability(TURING)
    assert safer_dtype(torch.float16, GPU) is torch.float32


@pytest.mark.parametrize(
    ("asked", "pipeline", "gpu", "attention"),
    [
        ("auto", "FluxPipeline", HOPPER, "native"),
        ("xformers", "FluxPipeline", HOPPER, "xformers"),
        ("auto", "FluxPipeline", AMPERE, "xformers"),
        ("auto", "StableDiffusionXLPipeline", TURING, "xformers"),
        ("native", "FluxPipeline", TURING, "native"),
        ("xformers", "SanaPipeline", AMPERE, "native"),
        ("xformers", "SanaSprintPipeline", AMPERE, "native"),
        ("auto", "SanaPipeline", AMPERE, "native"),
        ("xformers", "SomethingNewPipeline", AMPERE, "native"),
        ("xformers", "FluxPipeline", None, "native"),
    ],
)
def test_attention_by_wish_family_and_device(capability, asked, pipeline, gpu, attention):
    capability(gpu)
    assert choose_attention(asked, pipeline, GPU if gpu else CPU) == attention


@pytest.fixture(autouse=True)
def _tried_anew():
    attention._xformers_problem.cache_clear()


def test_falling_back_to_native_is_logged_once(capability, caplog):
    for _ in range(3):
        choose_attention("xformers", "FluxPipeline", CPU)
    assert [record.getMessage() for record in caplog.records] == [
        "xformers has no kernels for cpu: native attention is used."
    ]
    assert caplog.records[0].name == "cyberimage.models"


def test_xformers_that_does_not_work_is_not_used(capability, caplog, monkeypatch):
    class Pipeline:
        def enable_xformers_memory_efficient_attention(self):
            raise NotImplementedError("No operator found\nfor this input")

    monkeypatch.setattr(attention, "attention_problem", lambda *_: "")
    assert apply_attention(Pipeline(), "xformers", torch.device("cuda:3")) == "native"
    assert "No operator found" in caplog.text


def test_xformers_that_computes_something_else_is_not_installed(capability, caplog, monkeypatch):
    monkeypatch.setattr(attention, "attention_problem", lambda *_: "its result differs from native attention by 0.3")
    assert apply_attention(object(), "xformers", torch.device("cuda:4")) == "native"
    assert "differs from native attention by 0.3" in caplog.text


def test_xformers_on_a_cpu_draws_the_native_picture(engine, spec_of, ask):
    native = engine.generate(spec_of("flux"), ask(), Recorder())
    forced = engine.generate(spec_of("flux", attention="xformers"), ask(), Recorder())
    assert forced.versions["attention"] == "native"
    assert np.array_equal(native.images[0].pixels, forced.images[0].pixels)


def test_damaged_numbers_are_an_error_not_a_black_picture(engine, spec_of, ask, copy_of):
    folder = copy_of("sd15")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["decoder.conv_out.bias"][0] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(GenerationError, match=r"NaN or infinity.*float32") as failure:
        engine.generate(spec_of(folder), ask(), Recorder())
    assert failure.value.code == "generation_failed"


def test_what_wan_sees_with_runs_in_float32_and_is_not_taken_for_the_same_in_another_pipeline():
    parts = ("text_encoder", "transformer", "vae", "image_encoder")
    assert exact_parts("FluxPipeline", parts) == ()
    wan = LoadPlan(CPU, torch.bfloat16, exact=exact_parts("WanImageToVideoPipeline", parts))
    plain = LoadPlan(CPU, torch.bfloat16)
    assert wan.exact == ("vae", "image_encoder")
    assert wan.dtypes == {"default": torch.bfloat16, "vae": torch.float32, "image_encoder": torch.float32}
    assert plain.dtypes is torch.bfloat16
    assert (wan.dtype_of("vae"), wan.dtype_of("transformer")) == (torch.float32, torch.bfloat16)
    assert plain.dtype_of("vae") is torch.bfloat16
    assert wan.use("vae") != plain.use("vae")
    assert wan.use("text_encoder") == plain.use("text_encoder")

"""Numbers that overflow: a model that does so by itself is widened, one job that does so changes nothing for others.

On a CPU, bfloat16 stands for a GPU's narrow precisions.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import Cancelled, GenerationError, LoraIncompatible, OutOfMemory
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

HUGE = 1e38  # as a guidance: whatever it multiplies is infinite
PICTURE = np.full((64, 64, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def loras(tiny, tmp_path_factory):
    """LoRAs for FLUX: a plain one, one with a NaN, one too strong for a picture, one too large for this precision."""
    folder = tmp_path_factory.mktemp("loras")
    file = make_lora(tiny / "flux", folder / "spoiled.safetensors")
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    file = make_lora(tiny / "flux", folder / "style.safetensors")
    shutil.copy(file, folder / "strong.safetensors")
    file = folder / "strong.safetensors"
    save_file({name: tensor * 1e17 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    file = make_lora(tiny / "flux", folder / "wide.safetensors")
    tensors = load_file(file)
    save_file({name: tensor.double() * 1e60 for name, tensor in tensors.items()}, file, {"format": "pt"})
    return folder


@pytest.fixture
def engine(tiny, loras) -> DiffusersEngine:
    return DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, loras_dir=loras, dtype="bfloat16"))


@pytest.fixture
def overflowing(monkeypatch) -> Callable[..., None]:
    """Let FLUX overflow in the precisions named."""
    real = FluxTransformer2DModel.forward

    def switch_on(*dtypes: torch.dtype) -> None:
        def forward(self, hidden_states, *args, **kwargs):
            result = real(self, hidden_states, *args, **kwargs)
            if self.dtype in dtypes:
                result[0][:] = float("inf")
            return result

        monkeypatch.setattr(FluxTransformer2DModel, "forward", forward)

    return switch_on


# --- the model is at fault


def test_a_model_that_overflows_by_itself_is_widened_and_every_later_picture_says_so(
    tiny, engine, spec_of, ask, overflowing
):
    exact = DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny))
    wanted = exact.generate(spec_of("flux"), ask(), Recorder()).images[0].pixels
    overflowing(torch.bfloat16)
    warnings = ("flux overflows in its configured precision; it was run in float32.",)
    for _ in range(2):
        made = engine.generate(spec_of("flux"), ask(), Recorder())
        assert (made.versions["dtype"], made.warnings) == ("float32", warnings)
        assert np.array_equal(made.images[0].pixels, wanted)
    engine.unload("flux")
    assert engine.generate(spec_of("flux"), ask(), Recorder()).warnings == warnings
    assert [made.warnings for made in engine.generate_merged(spec_of("flux"), [ask()], [Recorder()])] == [warnings]


def test_a_wider_precision_that_does_not_help_is_not_kept(engine, spec_of, ask):
    before = engine.generate(spec_of("flux"), ask(), Recorder())
    engine.unload("flux")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            FluxTransformer2DModel, "forward", lambda self, hidden_states, *_, **__: (hidden_states * np.nan,)
        )
        with pytest.raises(GenerationError, match=r"NaN or infinity.*float32"):
            engine.generate(spec_of("flux"), ask(), Recorder())
    after = engine.generate(spec_of("flux"), ask(), Recorder())
    assert (after.versions["dtype"], after.warnings) == ("bfloat16", ())
    assert np.array_equal(after.images[0].pixels, before.images[0].pixels)


@pytest.mark.parametrize("end", ["cancelled", "no memory"])
def test_a_wider_precision_that_is_not_tried_to_its_end_is_not_kept(
    engine, spec_of, ask, overflowing, monkeypatch, end
):
    before = engine.generate(spec_of("flux"), ask(), Recorder())
    with pytest.MonkeyPatch.context() as patch:
        real, wide = FluxTransformer2DModel.forward, []

        def forward(self, hidden_states, *args, **kwargs):
            if self.dtype is torch.bfloat16:
                return (hidden_states * np.nan,)
            wide.append(self.dtype)
            if end == "no memory":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(self, hidden_states, *args, **kwargs)

        patch.setattr(FluxTransformer2DModel, "forward", forward)
        control = Recorder()
        monkeypatch.setattr(control, "cancelled", lambda: end == "cancelled" and bool(wide))
        with pytest.raises((Cancelled, OutOfMemory)):
            engine.generate(spec_of("flux"), ask(), control)
    after = engine.generate(spec_of("flux"), ask(), Recorder())
    assert (after.versions["dtype"], after.warnings) == ("bfloat16", ())
    assert np.array_equal(after.images[0].pixels, before.images[0].pixels)


# --- the job is at fault


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"loras": [{"id": "spoiled"}]}, LoraIncompatible, r"spoiled\.safetensors is damaged: .* NaN or infinity"),
        ({"loras": [{"id": "wide"}]}, LoraIncompatible, "The LoRA wide .* too large for bfloat16"),
        (
            {"loras": [{"id": "strong", "scale": 2}] * 8},
            GenerationError,
            r"default settings it works\. Lower the scale of",
        ),
        (
            {"guidance_scale": HUGE},
            GenerationError,
            r"default settings it works\. Choose a guidance_scale below 1e\+38",
        ),
        ({"num_inference_steps": 1, "guidance_scale": HUGE}, GenerationError, "default settings it works"),
    ],
)
def test_the_error_names_what_the_job_asked_for_and_the_model_stays(engine, spec_of, ask, changes, error, message):
    family = "flux" if "loras" in changes else "sd35"
    before = engine.generate(spec_of(family), ask(), Recorder())
    with pytest.raises(error, match=message):
        engine.generate(spec_of(family), ask(**changes), Recorder())
    after = engine.generate(spec_of(family), ask(), Recorder())
    assert (after.versions, after.warnings) == (before.versions, ())
    assert np.array_equal(after.images[0].pixels, before.images[0].pixels)


def test_a_start_picture_that_overflows_is_the_jobs_fault(engine, spec_of, ask, monkeypatch):
    real = AutoencoderKL.encode

    def encode(self, picture, *args, **kwargs):
        return real(self, picture * np.nan if picture.min() < 0 else picture, *args, **kwargs)

    monkeypatch.setattr(AutoencoderKL, "encode", encode)
    request = ask(task="img2img", strength=0.5)
    with pytest.raises(GenerationError, match=r"with its default settings it works\. Choose other settings"):
        engine.generate(spec_of("flux"), request, Recorder(), {"image": np.zeros_like(PICTURE)})
    assert engine.generate(spec_of("flux"), ask(), Recorder()).versions["dtype"] == "bfloat16"


def test_in_the_widest_precision_it_says_both_what_to_try_and_what_may_be_damaged(tiny, loras, spec_of, ask):
    engine = DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, loras_dir=loras))
    with pytest.raises(GenerationError, match=r"float32\. Choose a guidance_scale .* weights are damaged"):
        engine.generate(spec_of("sd35"), ask(guidance_scale=HUGE), Recorder())


# --- whatever came in between


def _no_memory(engine, spec, ask):
    """A picture so large that the VAE has no memory for it, but in tiles."""
    real = AutoencoderKL._decode

    def decode(self, latents, return_dict=True):
        if latents.shape[-1] > 8 and not self.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, latents, return_dict)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoencoderKL, "_decode", decode)
        engine.generate(spec, ask(width=128, height=128), Recorder())


def _no_memory_together(engine, spec, ask):
    real = FluxTransformer2DModel.forward

    def forward(self, hidden_states, *args, **kwargs):
        if len(hidden_states) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, hidden_states, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FluxTransformer2DModel, "forward", forward)
        engine.generate(spec, ask(num_images=2), Recorder())


def _no_memory_at_all(engine, spec, ask):
    def forward(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FluxTransformer2DModel, "forward", forward)
        with pytest.raises(OutOfMemory):
            engine.generate(spec, ask(), Recorder())


def _refused(*, control: Callable[[], Recorder] = Recorder, **changes: object) -> Callable[..., None]:
    def run(engine, spec, ask):
        with pytest.raises((GenerationError, Cancelled)):
            engine.generate(spec, ask(**changes), control())

    return run


def _drawn(inputs: dict | None = None, **changes: object) -> Callable[..., None]:
    def run(engine, spec, ask):
        engine.generate(spec, ask(**changes), Recorder(), inputs or {})

    return run


IN_BETWEEN: dict[str, Callable[..., None]] = {
    "a spoiled LoRA": _refused(loras=[{"id": "spoiled"}]),
    "a LoRA that is too strong": _refused(loras=[{"id": "strong", "scale": 2}] * 8),
    "a guidance out of all bounds": _refused(guidance_scale=HUGE),
    "cancelled": _refused(control=lambda: Recorder(cancel_at=2)),
    "cancelled with a LoRA on": _refused(control=lambda: Recorder(cancel_at=1), loras=[{"id": "style"}]),
    "a LoRA": _drawn(loras=[{"id": "style"}]),
    "another size": _drawn(width=96, height=128),
    "several": _drawn(num_images=3),
    "several at once": lambda engine, spec, ask: engine.generate_merged(spec, [ask(seed=1)] * 2, [Recorder()] * 2),
    "from a picture": _drawn({"image": PICTURE}, task="img2img", strength=0.5),
    "a part of one": _drawn({"image": PICTURE, "mask": PICTURE[..., 0]}, task="inpaint", strength=1.0),
    "no memory for tiles that large": _no_memory,
    "no memory for two": _no_memory_together,
    "no memory at all": _no_memory_at_all,
    "unloaded": lambda engine, spec, ask: engine.unload(spec.id),
}


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(jobs=st.lists(st.sampled_from(sorted(IN_BETWEEN)), min_size=1, max_size=5))
def test_no_job_changes_the_picture_of_another(tiny, loras, spec_of, ask, jobs):
    _check(tiny, loras, spec_of, ask, jobs)


@pytest.mark.parametrize("job", sorted(IN_BETWEEN))
def test_no_kind_of_job_changes_the_picture_of_another(tiny, loras, spec_of, ask, job):
    _check(tiny, loras, spec_of, ask, [job])


def _check(tiny, loras, spec_of, ask, jobs):
    shared = EngineSettings(root=tiny, model_cache_dir=tiny, loras_dir=loras, dtype="bfloat16")
    engine = DiffusersEngine(dataclasses.replace(shared, images_per_batch=2))
    asked = [ask(), ask(width=96, height=64), ask(guidance_scale=2.0, num_inference_steps=2)]
    before = [engine.generate(spec_of("flux"), request, Recorder()) for request in asked]
    for job in jobs:
        IN_BETWEEN[job](engine, spec_of("flux"), ask)
    for request, first in zip(asked, before, strict=True):
        again = engine.generate(spec_of("flux"), request, Recorder())
        assert np.array_equal(again.images[0].pixels, first.images[0].pixels)
        assert (again.versions, again.warnings) == (first.versions, ())

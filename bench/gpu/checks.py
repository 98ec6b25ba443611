"""Checks of what only a GPU can show, on tiny checkpoints: each returns what it found and raises AssertionError.

They run without pytest, on a machine that has torch and little else; `tests/gpu` runs them too, where a GPU is.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.core.catalog import ModelOptions, ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.errors import Cancelled
from bench.null_control import NullControl
from tools.tiny_models.build import build
from tools.tiny_models.lora import make_lora

FAMILIES = ("flux", "sd35", "sdxl", "sd15")
CLOSE = 24  # of 255, at most in a picture: 16 bits against 32
SIDE, STEPS = 64, 4


@dataclasses.dataclass(frozen=True)
class Bench:
    """A folder with tiny checkpoints, and the device that is checked."""

    folder: Path
    device: str

    def engine(self, **settings: Any) -> DiffusersEngine:
        usual = EngineSettings(root=self.folder, model_cache_dir=self.folder, loras_dir=self.folder, device=self.device)
        return DiffusersEngine(dataclasses.replace(usual, previews=False, **settings))

    def spec(self, family: str, name: str = "", **options: Any) -> ModelSpec:
        if not (self.folder / family).exists():
            build(family, self.folder)
        return ModelSpec(
            id=name or family,
            name=name or family,
            repo=str(self.folder / family),
            description="",
            source="local",
            options=ModelOptions.model_validate(options),
        )

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


class CancelAfter(NullControl):
    def __init__(self, steps: int) -> None:
        self.steps, self.seen = steps, 0

    def report(self, phase: Any, step: int = 0, total_steps: int = 0) -> None:
        self.seen = step

    def cancelled(self) -> bool:
        return self.seen >= self.steps


def draw(engine: DiffusersEngine, spec: ModelSpec, control: Any = None, **asked: Any) -> Any:
    fields = {"width": SIDE, "height": SIDE, "seed": 7, "num_inference_steps": STEPS, **asked}
    request = GenerationRequest(model_id=spec.id, prompt="a red cat under a tree", **fields)
    return engine.generate(spec, request, control or NullControl()).images[0].pixels


def difference(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other).max())


def narrow_types_agree_with_float32(bench: Bench) -> dict[str, Any]:
    """Half precision, with native attention and xformers, against float32 on the CPU."""
    found: dict[str, Any] = {}
    for family in FAMILIES:
        exact = draw(dataclasses.replace(bench, device="cpu").engine(), bench.spec(family, dtype="float32"))
        for dtype in ("float16", "bfloat16") if bench.on_gpu else ("float32",):
            for attention in ("native", "xformers"):
                spec = bench.spec(family, dtype=dtype, attention=attention)
                engine = bench.engine()
                off = difference(draw(engine, spec), exact)
                found[f"{family} {dtype} {engine.resident_model(spec).attention}"] = off
                assert off <= CLOSE, (family, dtype, attention, off)
    return found


def kernels_agree(bench: Bench) -> dict[str, Any]:
    """Each kind of attention that works here draws what native attention draws."""
    engine, found = bench.engine(), dict[str, Any]()
    dtype = "bfloat16" if bench.on_gpu else "float32"
    native = draw(engine, bench.spec("flux", dtype=dtype))
    for name in ("_native_math", "_native_flash", "_native_efficient", "_native_cudnn", "flash", "_flash_3", "sage"):
        spec = bench.spec("flux", attention=name, dtype=dtype)
        off = difference(draw(engine, spec), native)
        found[name] = off if engine.resident_model(spec).attention == name else "not usable here"
        assert off <= CLOSE, (name, off)
    return found


def loras_are_seen_by_compiled_models(bench: Bench) -> dict[str, Any]:
    """A LoRA changes the picture of a compiled model, which is as before after it."""
    bench.spec("flux")
    make_lora(bench.folder / "flux", bench.folder / "style.safetensors", strength=2.0)
    dtype = "bfloat16" if bench.on_gpu else "float32"
    plain, spec = bench.spec("flux", dtype=dtype), bench.spec("flux", "compiled", compile="regional", dtype=dtype)
    engine, style = bench.engine(), [{"id": "style"}]
    base, styled = draw(engine, plain), draw(engine, plain, loras=style)
    compiled = draw(engine, spec)
    assert engine.resident_model(spec).acceleration.compiled == "regional", engine.resident_model(
        spec
    ).acceleration.refused
    changed = draw(engine, spec, loras=style)
    assert np.array_equal(changed, styled)
    assert not np.array_equal(changed, base)
    assert np.array_equal(draw(engine, spec), compiled)
    return {"compiled against plain": difference(compiled, base), "the LoRA changes": difference(styled, base)}


def caches_leave_nothing(bench: Bench) -> dict[str, Any]:
    """Step caches, and a cancelled job in between."""
    engine, found = bench.engine(), dict[str, Any]()
    plain = draw(engine, bench.spec("flux"))
    for kind in ("first-block", "taylorseer", "mag", "pyramid"):
        spec = bench.spec("flux", "cached", cache={"kind": kind})
        first = draw(engine, spec, num_inference_steps=8)
        with contextlib.suppress(Cancelled):
            draw(engine, spec, CancelAfter(3), num_inference_steps=8, seed=9)
        assert np.array_equal(draw(engine, spec, num_inference_steps=8), first), kind
        found[kind] = difference(first, draw(engine, bench.spec("flux"), num_inference_steps=8))
    assert np.array_equal(draw(engine, bench.spec("flux")), plain)
    return found


def cancelled_jobs_free_their_memory(bench: Bench) -> dict[str, Any]:
    """Memory after a cancelled job is what it was before."""
    engine, spec = bench.engine(), bench.spec("flux")
    first = draw(engine, spec)
    before = engine.vram_bytes()
    try:
        draw(engine, spec, CancelAfter(2))
        raise AssertionError("it was not cancelled")
    except Cancelled:
        pass
    after = engine.vram_bytes()
    assert after == before, (before, after)
    assert np.array_equal(draw(engine, spec), first)
    return {"bytes": after}


def parked_models_come_back_as_they_were(bench: Bench) -> dict[str, Any]:
    """Two models in turn, one on the device at a time."""
    engine = bench.engine(max_loaded_models=1)
    one, other = bench.spec("flux"), bench.spec("sd15")
    first, parked = draw(engine, one), []
    draw(engine, other)
    parked = [model.model_id for model in engine.resident() if model.parked]
    assert np.array_equal(draw(engine, one), first)
    assert not bench.on_gpu or parked == ["flux"], parked
    return {"parked": parked}


def overflowing_models_are_widened(bench: Bench) -> dict[str, Any]:
    """A model whose weights are too large for 16 bits is drawn in a wider type, once and for all."""
    if not bench.on_gpu:
        return {"left out": "a CPU has no narrower type to begin with"}
    engine, spec = bench.engine(), bench.spec("flux", dtype="float16")
    engine.load(spec, NullControl())
    with torch.no_grad():
        engine.resident_model(spec).pipeline.transformer.proj_out.weight.mul_(1e6)
    made = draw(engine, spec)
    dtype = engine.resident_model(spec).dtype
    assert dtype is not torch.float16
    assert np.isfinite(made).all()
    return {"dtype": str(dtype)}


def memory_that_runs_out_is_made(bench: Bench) -> dict[str, Any]:
    """With room for little more than the weights the picture is drawn by a smaller plan, and is the same."""
    if not bench.on_gpu:
        return {"left out": "needs a GPU"}
    engine, spec = bench.engine(), bench.spec("sdxl", dtype="float16")
    before = draw(engine, spec, width=512, height=512)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + (48 << 20)) / total))
    try:
        made = draw(engine, spec, width=512, height=512)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    resident = engine.resident_model(spec)
    return {"difference": difference(made, before), "plan": resident.load_plan.plan}


CHECKS: tuple[Callable[[Bench], dict[str, Any]], ...] = (
    narrow_types_agree_with_float32,
    kernels_agree,
    caches_leave_nothing,
    cancelled_jobs_free_their_memory,
    parked_models_come_back_as_they_were,
    overflowing_models_are_widened,
    memory_that_runs_out_is_made,
    loras_are_seen_by_compiled_models,
)

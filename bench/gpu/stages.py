"""Measurements at the true size of a family, with random weights that were made on the device."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from app.core.request import GenerationRequest
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.memory.memory import part_bytes
from bench.gpu.comparison import PROMPT, release, settle
from bench.gpu.loaded_engine import engine_with
from bench.gpu.random_weights import build
from bench.null_control import NullControl

PROFILES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as it is", {}),
    ("VAE channels-last", {"vae_channels_last": True}),
    ("cuDNN attention", {"attention": "_native_cudnn"}),
    ("flash attention 3", {"attention": "_flash_3"}),
    ("xformers", {"attention": "xformers"}),
    ("first-block cache 0.08", {"cache": {"kind": "first-block", "threshold": 0.08}}),
    ("compiled", {"compile": "regional"}),  # from here on the pipeline stays compiled
    ("compiled, first-block cache 0.08", {"compile": "regional", "cache": {"kind": "first-block", "threshold": 0.08}}),
)


@dataclass
class Run:
    """One family on one device. `pipeline` and `plain` are handed from stage to stage."""

    family: str
    device: torch.device
    dtype: torch.dtype
    side: int
    steps: int
    rounds: int
    tiny: bool = False
    pipeline: Any = None
    plain: float = 0.0
    picture: Any = None
    notes: list[str] = field(default_factory=list)

    def timed(self, work: Callable[[], Any]) -> tuple[float, float, Any]:
        """Seconds, peak bytes on the device, and what `work` returned."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        settle()
        began = time.perf_counter()
        found = work()
        settle()
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        return time.perf_counter() - began, peak, found

    def by_diffusers(self, steps: int | None = None) -> Any:
        with torch.inference_mode():
            return self.pipeline(
                PROMPT,
                num_inference_steps=steps or self.steps,
                width=self.side,
                height=self.side,
                generator=torch.Generator("cpu").manual_seed(1),
                output_type="np",
            ).images[0]

    def request(self, spec: Any, steps: int | None = None) -> GenerationRequest:
        return GenerationRequest(
            model_id=spec.id,
            prompt=PROMPT,
            num_inference_steps=steps or self.steps,
            width=self.side,
            height=self.side,
            seed=1,
        )


def weights(run: Run) -> dict[str, Any]:
    """Random weights made on the device: seconds, and bytes of each part."""
    seconds, _, run.pipeline = run.timed(lambda: build(run.family, run.device, run.dtype, tiny=run.tiny))
    run.pipeline.set_progress_bar_config(disable=True)
    return {"seconds": seconds, "gigabytes": {name: size / 1e9 for name, size in part_bytes(run.pipeline).items()}}


def plain(run: Run) -> dict[str, Any]:
    """A plain diffusers script."""
    run.by_diffusers(2)
    rows = [run.timed(run.by_diffusers) for _ in range(run.rounds)]
    run.plain, run.picture = min(row[0] for row in rows), rows[0][2]
    same = bool(np.array_equal(rows[0][2], rows[-1][2]))
    return {"seconds": run.plain, "peak_gb": rows[0][1] / 1e9, "repeats to the bit": same}


def engine(run: Run) -> dict[str, Any]:
    """Ours around the same pipeline: what it adds, the gap between two jobs, whether the picture is the same."""
    found: dict[str, Any] = {}
    for previews in (False, True):
        ours, spec, _ = engine_with(run.pipeline, run.device, run.dtype, previews=previews)
        rows = [run.timed(lambda: ours.generate(spec, run.request(spec), NullControl())) for _ in range(run.rounds)]  # noqa: B023
        made = rows[0][2].images[0].pixels
        off = np.abs(made.astype(int) - (run.picture * 255).round().astype(int)).max()
        best = min(row[0] for row in rows)
        name = "with previews" if previews else "without previews"
        found[name] = {"seconds": best, "over plain": best - run.plain, "peak_gb": rows[0][1] / 1e9, "off": int(off)}
    return found


def profiles(run: Run) -> dict[str, Any]:
    """Seconds, peak and change of each option, ours; the compiler's seconds where there are any."""
    found: dict[str, Any] = {}
    base = (run.picture * 255).round()
    for name, options in PROFILES:
        ours, spec, model = engine_with(run.pipeline, run.device, run.dtype, options=json.dumps(options))
        if model.acceleration.refused or (options.get("attention") not in (None, model.attention)):
            found[name] = {"left out": (*model.acceleration.refused, f"attention {model.attention}")}
            continue
        warm, _, _ = run.timed(lambda: ours.generate(spec, run.request(spec, 6), NullControl()))  # noqa: B023
        rows = [run.timed(lambda: ours.generate(spec, run.request(spec), NullControl())) for _ in range(run.rounds)]  # noqa: B023
        made = rows[0][2].images[0].pixels
        found[name] = {
            "seconds": statistics.median(row[0] for row in rows),
            "÷ plain": round(statistics.median(row[0] for row in rows) / run.plain, 3),
            "peak_gb": rows[0][1] / 1e9,
            "first call": warm,
            "mean change of 255": float(np.abs(made.astype(int) - base).mean()),
        }
    return found


def float8(run: Run) -> dict[str, Any]:
    """torchao's float8 with dynamic activations, a scale for each row, on the compiled blocks."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    def wanted(module: torch.nn.Module, name: str) -> bool:
        sides = (getattr(module, "in_features", 1), getattr(module, "out_features", 1))
        return isinstance(module, torch.nn.Linear) and "blocks" in name and not any(side % 16 for side in sides)

    quantize_(
        run.pipeline.transformer, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()), filter_fn=wanted
    )
    torch.compiler.reset()
    release()
    ours, spec, _ = engine_with(run.pipeline, run.device, run.dtype, options='{"compile": "regional"}')
    warm, _, _ = run.timed(lambda: ours.generate(spec, run.request(spec, 2), NullControl()))
    rows = [run.timed(lambda: ours.generate(spec, run.request(spec), NullControl())) for _ in range(run.rounds)]
    return {"seconds": min(row[0] for row in rows), "peak_gb": rows[0][1] / 1e9, "first call": warm}


def swap(run: Run) -> dict[str, Any]:
    """To main memory and back, as parking does it."""
    _, _, model = engine_with(run.pipeline, run.device, run.dtype)
    out, _, _ = run.timed(lambda: model.move(torch.device("cpu")))
    release()
    back, _, _ = run.timed(lambda: model.move(run.device))
    return {"seconds out": out, "seconds back": back, "gigabytes": model.size / 1e9}


def offload(run: Run) -> dict[str, Any]:
    """The plans `model` and `group`: four steps. The last stage, since they cannot be undone."""
    found: dict[str, Any] = {}
    run.pipeline = None
    gc.collect()
    release()
    torch.compiler.reset()
    for plan in ("model", "group"):
        run.pipeline = build(run.family, run.device, run.dtype, tiny=run.tiny)
        run.pipeline.to("cpu")
        release()
        ours, spec, model = engine_with(run.pipeline, run.device, run.dtype, plan=plan)
        placing, _, _ = run.timed(lambda: place(run.pipeline, model.load_plan))  # noqa: B023
        ours.generate(spec, run.request(spec, 1), NullControl())
        seconds, peak, _ = run.timed(lambda: ours.generate(spec, run.request(spec, 4), NullControl()))  # noqa: B023
        found[plan] = {"seconds to place": placing, "seconds for four steps": seconds, "peak_gb": peak / 1e9}
        run.pipeline = ours = model = None
        release()
    return found

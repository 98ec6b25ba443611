"""Alternating two LoRAs on one model against drawing without: what they and the switching cost.

Their work is that of their rank in proportion to the model's width: rank 16 is 0.5 % of FLUX' 3072, and 8 % of the
built-in model's 192. Each round draws one picture without, one with the first and one with the second LoRA, so that
all see the same machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest, LoraChoice
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from bench.null_control import NullControl
from tools.tiny_models.build import build
from tools.tiny_models.lora import make_lora

ROUNDS = 7


def main() -> None:
    print("| model | without, s | alternating, s | ratio | switching, ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rank in (4, 16):
            measure("built-in", ROOT / "builtin" / "demo", folder / f"demo-{rank}", 256, 8, rank)
        measure("tiny FLUX", build("flux", folder), folder / "flux-loras", 64, 20, 4)
        measure("tiny SD 1.5", build("sd15", folder), folder / "sd15-loras", 64, 20, 4)


def measure(model: str, path: Path, loras: Path, side: int, steps: int, rank: int) -> None:
    for seed in (1, 2):
        make_lora(path, loras / f"l{seed}.safetensors", rank=rank, strength=0.2, seed=seed)
    engine = DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, loras_dir=loras, previews=False))
    spec = ModelSpec(id="m", name="m", repo=str(path), description="", source="local")

    def draw(*names: str) -> float:
        request = GenerationRequest(
            model_id="m",
            prompt="a red circle on a blue background",
            num_inference_steps=steps,
            width=side,
            height=side,
            seed=1,
            loras=tuple(LoraChoice(id=name) for name in names),
        )
        started = time.perf_counter()
        engine.generate(spec, request, NullControl())
        return time.perf_counter() - started

    for names in ((), ("l1",), ("l2",)):
        draw(*names)  # everything is loaded once
    without, alternating = [], []
    for _ in range(ROUNDS):
        without.append(draw())
        alternating.append((draw("l1") + draw("l2")) / 2)
    ratio = statistics.median(a / w for a, w in zip(alternating, without, strict=True))
    medians = f"{statistics.median(without):.2f} | {statistics.median(alternating):.2f}"
    print(
        f"| {model}, {side}², {steps} steps, rank {rank} | {medians} | {ratio:.2f}"
        f" | {switching(engine, spec, loras):.1f} |",
        flush=True,
    )


def switching(engine: DiffusersEngine, spec: ModelSpec, loras: Path) -> float:
    """Milliseconds to apply and remove another LoRA, without generating."""
    from app.engines.diffusers.loras.cache import LoraRequest
    from app.files.loras import inspect

    lora_cache = engine._model_cache.get(spec).loras
    times = []
    for number in range(10):
        file = loras / f"l{1 + number % 2}.safetensors"
        wanted = LoraRequest(file, inspect(file, file.stem), 1.0)
        started = time.perf_counter()
        with lora_cache.applied([wanted]):
            pass
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)

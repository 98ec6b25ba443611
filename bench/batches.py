"""Four pictures of one job in one call (IMAGES_PER_BATCH=4) against one after the other, and how far they differ.

Both are drawn in each round, so that they see the same machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import Generation
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.settings import EngineSettings
from bench.silent import Silent
from tools.tiny_models.build import build

ROUNDS, IMAGES = 5, 4


def main() -> None:
    print("| model | one by one, s | together, s | gain | bytes that differ |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for model, path, side, steps in (
            ("tiny SD 1.5", build("sd15", Path(name)), 64, 20),
            ("tiny FLUX", build("flux", Path(name)), 64, 20),
            ("built-in", ROOT / "builtin" / "demo", 256, 6),
        ):
            measure(model, path, side, steps)


def measure(model: str, path: Path, side: int, steps: int) -> None:
    spec = ModelSpec(id="m", name="m", repo=str(path), description="", source="local")
    request = GenerationRequest(
        model_id="m",
        prompt="a red circle on a blue background",
        num_inference_steps=steps,
        width=side,
        height=side,
        seed=1,
        num_images=IMAGES,
    )
    engines = [
        DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=False, images_per_batch=number))
        for number in (1, IMAGES)
    ]

    def draw(engine: DiffusersEngine) -> tuple[float, Generation]:
        started = time.perf_counter()
        made = engine.generate(spec, request, Silent())
        return time.perf_counter() - started, made

    for engine in engines:
        draw(engine)  # the model is loaded
    rounds = [tuple(draw(engine) for engine in engines) for _ in range(ROUNDS)]
    (alone, one_by_one), (at_once, together) = rounds[-1]
    differing = sum(int((a.pixels != b.pixels).sum()) for a, b in zip(one_by_one.images, together.images, strict=True))
    total = sum(np.asarray(image.pixels).size for image in together.images)
    alone, at_once = (statistics.median(pair[which][0] for pair in rounds) for which in (0, 1))
    gain = statistics.median(pair[0][0] / pair[1][0] for pair in rounds)
    print(
        f"| {model}, {side}², {steps} steps | {alone:.2f} | {at_once:.2f} | {gain:.2f} | {differing} of {total} |",
        flush=True,
    )

"""Four jobs of one picture each in one call (MERGE_JOBS=4) against one after the other, and how far they differ.

Both are drawn in each round, by one engine, so that they see the same machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import Generation
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.settings import EngineSettings
from bench.silent import Silent
from tools.tiny_models.build import build

ROUNDS = 5
WORDS = ("a red circle on a blue background", "a house by the sea", "the moon and stars", "a boat")


def main() -> None:
    print("| model | one by one, s | merged, s | gain | bytes that differ |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for model, path, side, steps in (
            ("tiny SD 1.5", build("sd15", Path(name)), 64, 20),
            ("tiny FLUX", build("flux", Path(name)), 64, 20),
            ("built-in", ROOT / "builtin" / "demo", 256, 6),
        ):
            measure(model, path, side, steps)


def measure(model: str, path: Path, side: int, steps: int) -> None:
    spec = ModelSpec(id="m", name="m", repo=str(path), description="", source="local")
    requests = [
        GenerationRequest(
            model_id="m", prompt=words, num_inference_steps=steps, width=side, height=side, seed=1 + number
        )
        for number, words in enumerate(WORDS)
    ]
    engine = DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=False))
    engine.load(spec, Silent())

    def one_by_one() -> Sequence[Generation]:
        return [engine.generate(spec, request, Silent()) for request in requests]

    def merged() -> Sequence[Generation]:
        made = engine.generate_merged(spec, requests, [Silent() for _ in requests])
        return [each for each in made if isinstance(each, Generation)]

    pairs = [(timed(one_by_one), timed(merged)) for _ in range(ROUNDS + 1)][1:]  # the first warms up
    alone, together = (statistics.median(pair[which][0] for pair in pairs) for which in (0, 1))
    gain = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
    drawn = list(zip(pairs[-1][0][1], pairs[-1][1][1], strict=True))
    differing = sum(int((a.images[0].pixels != b.images[0].pixels).sum()) for a, b in drawn)
    total = sum(a.images[0].pixels.size for a, _ in drawn)
    print(
        f"| {model}, {side}², {steps} steps | {alone:.2f} | {together:.2f} | {gain:.2f} | {differing} of {total} |",
        flush=True,
    )


def timed(draw: Callable[[], Sequence[Generation]]) -> tuple[float, Sequence[Generation]]:
    started = time.perf_counter()
    made = draw()
    return time.perf_counter() - started, made

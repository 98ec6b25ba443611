"""Cost of live previews, and of alternating between two models in memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from bench.null_control import NullControl
from tools.tiny_models.build import build

ROUNDS, WARM_UP = 12, 2
PREVIEWS_AT_MOST, SWITCHING_AT_MOST = 1.03, 1.05
PROMPT = "a red circle on a blue background"


def main() -> None:
    print("| | without, s | with, s | ratio | wanted |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        tiny = build("flux", Path(name))
        for model, path, side, steps in (
            ("built-in model", ROOT / "builtin" / "demo", 256, 20),
            ("tiny FLUX", tiny, 64, 20),
        ):
            plain, shown = drawing(path, side, steps, previews=False), drawing(path, side, steps, previews=True)
            row(f"previews, {model}, {side}², {steps} steps", *in_turn(plain, shown), PREVIEWS_AT_MOST)
        one, two = engine_of(previews=False), [spec(number, tiny) for number in (1, 2)]
        staying = lambda: [draw(one, two[0], 64, 20) for _ in range(2)]  # noqa: E731
        switching = lambda: [draw(one, model, 64, 20) for model in two]  # noqa: E731
        row("two models in turn, two pictures, tiny FLUX", *in_turn(staying, switching), SWITCHING_AT_MOST)


def engine_of(*, previews: bool) -> DiffusersEngine:
    return DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=previews))


def spec(number: int, path: Path) -> ModelSpec:
    return ModelSpec(id=f"m{number}", name=f"m{number}", repo=str(path), description="", source="local")


def drawing(path: Path, side: int, steps: int, *, previews: bool) -> Callable[[], object]:
    engine, model = engine_of(previews=previews), spec(1, path)
    return lambda: draw(engine, model, side, steps)


def draw(engine: DiffusersEngine, model: ModelSpec, side: int, steps: int) -> None:
    request = GenerationRequest(
        model_id=model.id, prompt=PROMPT, num_inference_steps=steps, width=side, height=side, seed=1
    )
    engine.generate(model, request, NullControl())


def in_turn(first: Callable[[], object], second: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Seconds of both, alternating, by round."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + WARM_UP):
        for kept, work in zip(seconds, (first, second), strict=True):
            began = time.perf_counter()
            work()
            if number >= WARM_UP:
                kept.append(time.perf_counter() - began)
    return seconds


def row(what: str, without: list[float], with_it: list[float], limit: float) -> None:
    ratio = statistics.median(b / a for a, b in zip(without, with_it, strict=True))
    medians = f"{statistics.median(without):.3f} | {statistics.median(with_it):.3f}"
    print(f"| {what} | {medians} | {ratio:.3f} | ≤ {limit:g} |", flush=True)

"""Four pictures in one call against one after the other: how much faster, and how far they differ.

Both are drawn in each round, so that they see the same machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.engines.base import Pixels
from tools.tiny_models.build import build

ROUNDS = 5

Draw = Callable[[], Sequence[Pixels]]
Ways = Callable[[ModelSpec, int, int], tuple[Draw, Draw]]  # (model, side, steps) → one by one, together


def compare(ways: Ways) -> None:
    """Print a line of a table for each model."""
    print("| model | one by one, s | together, s | gain | bytes that differ |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for model, path, side, steps in (
            ("tiny SD 1.5", build("sd15", Path(name)), 64, 20),
            ("tiny FLUX", build("flux", Path(name)), 64, 20),
            ("built-in", ROOT / "builtin" / "demo", 256, 6),
        ):
            spec = ModelSpec(id="m", name="m", repo=str(path), description="", source="local")
            print(f"| {model}, {side}², {steps} steps | {_measured(*ways(spec, side, steps))} |", flush=True)


def _measured(one_by_one: Draw, together: Draw) -> str:
    rounds = [(_timed(one_by_one), _timed(together)) for _ in range(ROUNDS + 1)][1:]  # the first loads and warms up
    alone, at_once = (statistics.median(pair[which][0] for pair in rounds) for which in (0, 1))
    gain = statistics.median(pair[0][0] / pair[1][0] for pair in rounds)
    drawn = list(zip(rounds[-1][0][1], rounds[-1][1][1], strict=True))
    differing, total = sum(int((a != b).sum()) for a, b in drawn), sum(a.size for a, _ in drawn)
    return f"{alone:.2f} | {at_once:.2f} | {gain:.2f} | {differing} of {total}"


def _timed(draw: Draw) -> tuple[float, Sequence[Pixels]]:
    started = time.perf_counter()
    made = draw()
    return time.perf_counter() - started, made

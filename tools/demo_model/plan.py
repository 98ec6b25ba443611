"""How much of each stage to do: the sizes of a training run, by name."""

from __future__ import annotations

from dataclasses import dataclass

from tools.demo_model.flow import Stage


@dataclass(frozen=True)
class Plan:
    """Counts of pictures, updates and samples for every stage."""

    pictures: int
    vae_steps: int
    polish_steps: int
    text_steps: int
    text_captions: int
    stages: tuple[Stage, ...]
    distill_steps: int
    distill_batch: int
    checker_steps: int


PLANS: dict[str, Plan] = {
    # A few seconds in all: proves that every stage runs and that the export loads.
    "smoke": Plan(
        12, 3, 2, 3, 64,
        (Stage("half", True, 2, 4), Stage("native", False, 2, 4, decay=0.5)), 2, 4, 2,
    ),
    # Two to three hours on one CPU core with bfloat16 instructions.
    "cpu": Plan(
        30_000, 1400, 800, 1200, 60_000,
        (Stage("half", True, 2600, 48), Stage("native", False, 3200, 32, decay=0.4, average=0.999)), 260, 32, 2500,
    ),
    # Continuing from exported weights on a CPU: native size only, at a gentler rate.
    "cpu-more": Plan(
        30_000, 0, 800, 0, 0,
        (Stage("native", False, 6000, 32, rate=1e-3, decay=0.6, average=0.999),), 260, 32, 2500,
    ),
    # An estimate for one large GPU (not run yet): three million draws.
    "gpu": Plan(
        120_000, 6000, 6000, 3000, 120_000,
        (Stage("half", True, 6000, 256), Stage("native", False, 8000, 256, decay=0.4, average=0.999)), 800, 256, 6000,
    ),
}  # fmt: skip

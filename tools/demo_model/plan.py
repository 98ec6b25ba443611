"""Amounts of work per training stage: named plans of a run."""

from __future__ import annotations

from dataclasses import dataclass

from tools.demo_model.flow import Course


@dataclass(frozen=True)
class Plan:
    """Counts of pictures, updates and samples for every stage."""

    pictures: int
    vae_steps: int
    outer_steps: int
    text_steps: int
    text_captions: int
    flow: Course
    distill_steps: int
    distill_batch: int
    checker_steps: int


PLANS: dict[str, Plan] = {
    # A few seconds in all: proves that every stage runs and that the export loads.
    "smoke": Plan(12, 3, 2, 3, 64, Course(2, 4, decay=0.5), 2, 4, 2),
    # Two to three hours on one CPU core with bfloat16 instructions.
    "cpu": Plan(30_000, 1400, 1500, 1200, 60_000, Course(10_000, 48, decay=0.35), 300, 48, 2500),
    # Continuing from exported weights on a CPU, at a gentler rate.
    "cpu-more": Plan(48_000, 0, 1500, 0, 0, Course(11_000, 48, decay=0.6), 180, 48, 2500),
    # The SD 3 sibling, started from the other's transformer: about two hours on one CPU core.
    "cpu-sd3": Plan(48_000, 0, 1500, 1200, 60_000, Course(4_800, 48, decay=0.5), 0, 48, 2500),
    # An estimate for one large GPU (not run yet): four million draws.
    "gpu": Plan(120_000, 6000, 8000, 3000, 120_000, Course(16_000, 256, decay=0.4), 800, 256, 6000),
}

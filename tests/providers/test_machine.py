"""Predictions against a provider that does everything wrong. PREDICTION_STEPS: how many steps (`make check-predictions`
takes 10,000)."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.providers.machine import PredictionMachine

STEPS = int(os.environ.get("PREDICTION_STEPS", "400"))
PER_RUN = 40


def test_never_paid_twice_never_lost_never_false(migrated_sqlite: Path) -> None:
    PredictionMachine.template = migrated_sqlite
    few = settings(
        max_examples=max(1, STEPS // PER_RUN),
        stateful_step_count=PER_RUN,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(PredictionMachine, settings=few)
    print(dict(PredictionMachine.tally))  # noqa: T201 - the figures of a long run, with -s

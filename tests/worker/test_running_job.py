"""StepRate: seconds per step, as reported while a job runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.core.job import Phase
from app.worker.running_job import StepRate
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness


def test_step_rate_averages_without_the_time_between_images(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("app.worker.running_job.time", SimpleNamespace(monotonic=lambda: clock[0]))
    rate = StepRate()

    def after(seconds: float, phase: Phase, step: int) -> float | None:
        clock[0] += seconds
        return rate.update(phase, step)

    assert after(50, Phase.LOADING, 0) is None
    assert after(1, Phase.GENERATING, 0) is None
    assert after(2, Phase.GENERATING, 1) == 2
    assert after(4, Phase.GENERATING, 2) == 3
    assert after(90, Phase.DECODING, 2) == 3  # the last word stands
    assert after(90, Phase.GENERATING, 2) == 3
    assert after(5, Phase.GENERATING, 3) == 5


def test_the_step_rate_is_in_the_progress(harness: Harness) -> None:
    engine = FakeEngine(step_seconds=0.05)
    gate = engine.behaviours["slow"] = Gate(Phase.LOADING)
    harness.start(engine)
    job_id = harness.submit("slow")
    gate.wait()
    assert harness.view(job_id).job.progress.seconds_per_step is None
    gate.opened.set()
    seconds = harness.completed(job_id).job.progress.seconds_per_step
    assert seconds is None or seconds > 0.04  # two steps may pass between two heartbeat ticks

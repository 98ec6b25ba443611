"""Monitoring data of a worker: counters in the database, and the job log."""

from __future__ import annotations

import json
import logging

import pytest

from app.errors import DatabaseUnavailable, OutOfMemory
from app.store.ops.counters import Counter
from app.store.queue.stats import StatsStore
from app.worker.job_log import MetricsBuffer
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness


@pytest.fixture
def job_log_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """The lines about jobs that ended."""
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.jobs")
    return lambda: [record for record in caplog.records if record.name == "cyberimage.jobs"]


def counters(harness: Harness) -> dict[Counter, float]:
    return dict(StatsStore(harness.context.database).read().counters)


def test_a_published_job_is_counted_with_the_next_heartbeat(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    harness.completed(harness.submit(num_images=2))
    steps, images = Counter("steps", "fake"), Counter("images", "fake")
    wait_until(lambda: counters(harness).get(steps) == 4, "the counts did not come")
    found = counters(harness)
    assert found[images] == 2
    assert found[Counter("phase_seconds", "fake", "generating")] == pytest.approx(0.01)
    assert found[Counter("phase_bucket", "fake", "generating/0.05")] == 1
    assert found[Counter("phase_seconds", "fake", "saving")] > 0
    assert Counter("phase_seconds", "fake", "queued") in found
    wait_until(lambda: counters(harness).get(Counter("model_loads", "fake")) == 1, "the load was not counted")


def test_a_stopping_worker_writes_its_counters(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(HEARTBEAT_SECONDS="10", LEASE_SECONDS="60")
    running = harness.start(engine)
    harness.completed(harness.submit())
    running.stop()
    assert counters(harness)[Counter("images", "fake")] == 1


def test_a_load_with_an_unload_is_a_swap() -> None:
    counts = MetricsBuffer()
    counts.resident([], ["a"])
    counts.resident(["a"], ["a", "b"])
    counts.resident(["a", "b"], ["b", "c"])
    counts.resident(["c"], [])
    loads = {Counter("model_loads", model): 1 for model in "abc"}
    unloads = {Counter("model_unloads", model): 1 for model in "ac"}
    assert dict(counts.take()) == {**loads, **unloads, Counter("model_swaps", "c"): 1}
    assert not counts.take()


def test_counters_that_could_not_be_written_are_written_later(
    harness: Harness, engine: FakeEngine, monkeypatch
) -> None:
    add, failures = harness.context.counters.add, []

    def away_at_first(found):
        if found and len(failures) < 3:
            failures.append(found)
            raise DatabaseUnavailable("Away.")
        add(found)

    monkeypatch.setattr(harness.context.counters, "add", away_at_first)
    harness.start(engine)
    harness.completed(harness.submit())
    wait_until(lambda: counters(harness).get(Counter("images", "fake")) == 1, "the counts were lost")
    assert len(failures) == 3


def test_the_log_line_of_a_finished_job(harness: Harness, engine: FakeEngine, job_log_lines) -> None:
    harness.start(engine)
    job_id = harness.submit('a "boat"\nand a sea')
    seed = harness.completed(job_id).job.request.seed
    wait_until(job_log_lines, "no line")
    (line,) = job_log_lines()
    assert line.job_id == job_id
    assert (line.outcome, line.model_id, line.seed, line.vram_peak_mb) == ("completed", "fake", seed, None)
    assert line.safety_filter_result == "skipped"
    assert line.rss_before_mb > 0 < line.rss_after_mb
    assert (line.vram_before_mb, line.vram_after_mb) == (None, None)
    assert f"rss_before_mb={line.rss_before_mb}" in line.getMessage()
    assert 0 <= line.latency_ms < 60_000
    assert "\n" not in line.getMessage()
    assert json.dumps('a "boat"\nand a sea') in line.getMessage()


def test_the_log_line_of_a_failed_job_has_no_prompt_by_default(new_harness, engine: FakeEngine, job_log_lines) -> None:
    harness = new_harness(LOG_PROMPTS="false")
    engine.behaviours["my secret"] = fails(OutOfMemory())
    harness.start(engine)
    harness.ended(harness.submit("my secret"))
    wait_until(job_log_lines, "no line")
    (line,) = job_log_lines()
    assert line.outcome == "out_of_memory"
    assert "secret" not in line.getMessage()
    assert not hasattr(line, "prompt")


def test_the_gpu_memory_before_and_after_a_job(harness: Harness, job_log_lines) -> None:
    readings = iter([1_000_000, 9_000_000])

    class OnGpu(FakeEngine):
        def vram_bytes(self) -> int:
            return next(readings)

    engine = OnGpu()
    engine.behaviours["huge"] = fails(OutOfMemory())
    harness.start(engine)
    harness.ended(harness.submit("huge"))
    wait_until(job_log_lines, "no line")
    assert (job_log_lines()[0].vram_before_mb, job_log_lines()[0].vram_after_mb) == (1, 9)

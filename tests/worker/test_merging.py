"""Merged jobs: each ends independently, and a failed call costs none of them an attempt."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from app.core.job import JobStatus, Phase
from app.errors import ContentBlocked, GenerationError, OutOfMemory
from app.services.jobs.cancel import cancel
from app.store.ops.counters import Counter
from app.store.queue.stats import StatsStore
from app.worker.running_job import StopReason
from tests.processes import Processes
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate, fails
from tests.worker.harness import Harness

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def harness(new_harness) -> Harness:
    return new_harness(MERGE_JOBS="4")


@pytest.fixture
def busy(harness: Harness, engine: FakeEngine):
    """Starts a worker that is busy with a first job until the returned gate is opened, so that others can gather."""

    def start() -> Gate:
        gate = engine.behaviours["first"] = Gate()
        running = harness.start(engine)
        harness.submit("first")
        gate.wait()
        gate.running = running
        return gate

    return start


class StepGate:
    """A behaviour in the middle of a call: goes on when it is opened, or when all jobs are cancelled."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, control) -> None:
        self.reached.set()
        give_up_at = time.monotonic() + PATIENCE
        while not self.opened.wait(0.01) and time.monotonic() < give_up_at and not control.cancelled():
            control.report(Phase.GENERATING, 1, 2)


def submit(harness: Harness, prompts: Sequence[str]) -> dict[str, str]:
    return {prompt: harness.submit(prompt) for prompt in prompts}


def complete_another_three(harness: Harness, engine: FakeEngine) -> None:
    """Submits jobs that wait together, on a worker that has loaded the model."""
    gate = engine.behaviours["wait"] = Gate()
    harness.submit("wait")
    gate.wait()
    jobs = submit(harness, "xyz")
    gate.opened.set()
    for job_id in jobs.values():
        harness.completed(job_id)


def test_waiting_jobs_run_in_one_call_with_separate_results(harness: Harness, engine: FakeEngine, busy) -> None:
    gate = busy()
    jobs = submit(harness, "abcde")
    gate.opened.set()
    for prompt, job_id in jobs.items():
        seen = harness.completed(job_id)
        (output,) = seen.outputs
        assert (output.seed, output.manifest["prompt"]) == (seen.job.request.seed, prompt)
        assert output.manifest["effective"].get("drawn_together", 1) == (1 if prompt == "e" else 4)
        assert (seen.job.attempt, seen.job.progress.percent) == (1, 100)
        assert {"queued", Phase.GENERATING.value, Phase.SAVING.value} <= seen.job.timings.keys()
    assert engine.merged == [["a", "b", "c", "d"]]  # the fifth came one too many
    assert len({harness.view(job_id).outputs[0].id for job_id in jobs.values()}) == 5
    assert len(harness.files()) == 12
    (learned,) = harness.context.speeds.all().values()
    assert 0.0025 < learned < 0.008  # between the share of a call, in which most were drawn, and a job alone


def test_what_was_merged_is_counted(harness: Harness, engine: FakeEngine, busy) -> None:
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    for job_id in jobs.values():
        harness.completed(job_id)
    merged = Counter("jobs_merged", "fake")
    figures = StatsStore(harness.context.database)
    wait_until(lambda: figures.read().counters.get(merged) == 3, "it was not counted")


def test_the_job_that_loads_the_model_is_not_merged(harness: Harness, engine: FakeEngine) -> None:
    jobs = submit(harness, "abc")
    harness.start(engine)
    for job_id in jobs.values():
        harness.completed(job_id)
    assert engine.ran[0] == "a"
    assert engine.merged == [["b", "c"]]


def test_merging_disabled(new_harness, engine: FakeEngine) -> None:
    harness = new_harness()
    jobs = submit(harness, "abc")
    harness.start(engine)
    for job_id in jobs.values():
        harness.completed(job_id)
    assert engine.merged == []


def test_jobs_of_other_models_keep_their_place(harness: Harness, engine: FakeEngine, busy) -> None:
    """A job of another model waits for one call, not for all that are alike."""
    gate = busy()
    alike = [harness.submit(f"a{n}") for n in range(2)]
    other = harness.submit("other", model_id="other")
    more = [harness.submit(f"b{n}") for n in range(6)]
    with harness.context.database.write() as connection:  # no affinity for the loaded model
        connection.execute(text("UPDATE jobs SET overtaken_at = 1 WHERE id = :id"), {"id": other})
    gate.opened.set()
    for job_id in (*alike, other, *more):
        harness.completed(job_id)
    assert engine.ran.index("other") == 5
    assert [len(call) for call in engine.merged] == [4, 4]


def test_a_cancelled_job_ends_at_once_and_the_others_continue(harness: Harness, engine: FakeEngine, busy) -> None:
    gated = engine.behaviours["d"] = StepGate()
    gate = busy()
    jobs = submit(harness, "abcd")
    gate.opened.set()
    assert gated.reached.wait(PATIENCE)
    before = harness.view(jobs["d"]).job
    cancel(harness.context, jobs["b"])
    gated.opened.set()
    assert harness.ended(jobs["b"]).job.status is JobStatus.CANCELLED
    assert harness.view(jobs["b"]).outputs == ()
    for prompt in "acd":
        harness.completed(jobs[prompt])
    assert before.status is JobStatus.PROCESSING
    assert engine.merged == [["a", "b", "c", "d"]]
    assert len(harness.files()) == 8


def test_a_cancel_takes_effect_during_the_call(harness: Harness, busy) -> None:
    class Slow(FakeEngine):
        finish = threading.Event()

        def generate_merged(self, spec, requests, controls):
            while not self.finish.wait(0.01):
                for control in controls:
                    control.cancelled()
            return super().generate_merged(spec, requests, controls)

    slow = Slow()
    gate = slow.behaviours["first"] = Gate()
    harness.start(slow)
    harness.submit("first")
    gate.wait()
    jobs = submit(harness, "abc")
    gate.opened.set()
    for job_id in jobs.values():
        harness.until(job_id, lambda view: view.job.status is JobStatus.PROCESSING)
    cancel(harness.context, jobs["a"])
    assert harness.ended(jobs["a"]).job.status is JobStatus.CANCELLED
    assert harness.view(jobs["b"]).job.status is JobStatus.PROCESSING
    slow.finish.set()
    harness.completed(jobs["b"])
    harness.completed(jobs["c"])


def test_when_all_are_cancelled_the_call_ends(harness: Harness, engine: FakeEngine, busy) -> None:
    gated = engine.behaviours["b"] = StepGate()
    gate = busy()
    jobs = submit(harness, "ab")
    gate.opened.set()
    assert gated.reached.wait(PATIENCE)
    for job_id in jobs.values():
        cancel(harness.context, job_id)
    for job_id in jobs.values():
        seen = harness.ended(job_id).job
        assert (seen.status, seen.attempt, seen.error_code) == (JobStatus.CANCELLED, 1, None)
    harness.completed(harness.submit("next"))


@pytest.mark.parametrize("error", [OutOfMemory("Memory ran out."), GenerationError("No."), RuntimeError("broken")])
def test_a_failed_call_costs_no_job_an_attempt(harness: Harness, engine: FakeEngine, busy, error: Exception) -> None:
    engine.behaviours["b"] = fails(error, times=1)
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    for job_id in jobs.values():
        job = harness.completed(job_id).job
        assert (job.attempt, job.max_attempts) == (2, 4)  # as many left as ever
    assert engine.merged == [["a", "b", "c"]]  # then each alone
    assert gate.running.recycled is None


def test_bad_input_fails_only_its_job(harness: Harness, engine: FakeEngine, busy) -> None:
    engine.behaviours["b"] = fails(GenerationError("This cannot be drawn."))
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    bad = harness.ended(jobs["b"]).job
    assert (bad.status, bad.error_message) == (JobStatus.FAILED, "This cannot be drawn.")
    harness.completed(jobs["a"])
    harness.completed(jobs["c"])
    assert engine.ran.count("b") == 2


def test_an_unexpected_error_disables_merging_for_that_model(harness: Harness, engine: FakeEngine, busy) -> None:
    engine.behaviours["b"] = fails(RuntimeError("broken"), times=1)
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    for job_id in jobs.values():
        harness.completed(job_id)
    complete_another_three(harness, engine)
    assert engine.merged == [["a", "b", "c"]]


def test_content_blocked_fails_only_its_job(harness: Harness, engine: FakeEngine, busy) -> None:
    engine.behaviours["b"] = fails(ContentBlocked("Held back."))
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    assert harness.ended(jobs["b"]).job.error_code == "content_blocked"
    for prompt in "ac":
        assert harness.completed(jobs[prompt]).job.attempt == 1
    assert len(engine.merged) == 1


def test_jobs_of_a_merged_call_past_the_deadline_run_alone(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(MERGE_JOBS="4", JOB_TIMEOUT_SECONDS="5")
    gated = engine.behaviours["b"] = StepGate()
    running = harness.start(engine)
    harness.completed(harness.submit("load"))
    gate = engine.behaviours["first"] = Gate()
    harness.submit("first")
    gate.wait()
    jobs = submit(harness, "abc")
    gate.opened.set()
    assert gated.reached.wait(PATIENCE)
    for job in running.worker.jobs():
        job.deadline = time.monotonic()
    wait_until(lambda: engine.ran.count("b") == 2, "it was not tried again")
    gated.opened.set()
    for job_id in jobs.values():
        assert harness.completed(job_id).job.attempt == 2
    complete_another_three(harness, engine)
    assert len(engine.merged) == 1  # it is not tried again with that model


def test_a_drain_requeues_all_merged_jobs(harness: Harness, engine: FakeEngine, busy) -> None:
    gated = engine.behaviours["c"] = StepGate()
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    assert gated.reached.wait(PATIENCE)
    gate.running.stop()
    for job_id in jobs.values():
        job = harness.view(job_id).job
        assert (job.status, job.attempt, job.max_attempts) == (JobStatus.PENDING, 1, 4)
    harness.start(FakeEngine())
    for job_id in jobs.values():
        harness.completed(job_id)


def test_a_job_with_a_lost_lease_is_not_published(harness: Harness, engine: FakeEngine, busy) -> None:
    gated = engine.behaviours["c"] = StepGate()
    gate = busy()
    jobs = submit(harness, "abc")
    gate.opened.set()
    assert gated.reached.wait(PATIENCE)
    with harness.context.database.write() as connection:  # as if it had been rescued and run elsewhere
        connection.execute(
            text("UPDATE jobs SET attempt = 2, worker_id = 'other' WHERE id = :id"),
            {"id": jobs["a"]},
        )
    (lost,) = [job for job in gate.running.worker.jobs() if job.claim.job_id == jobs["a"]]
    wait_until(lambda: lost.stop_reason is StopReason.LOST, "it was not seen to be lost")
    gated.opened.set()
    harness.completed(jobs["b"])
    harness.completed(jobs["c"])
    assert harness.view(jobs["a"]).job.worker_id == "other"
    assert len(harness.files()) == 6


def test_a_job_that_kills_its_worker_affects_the_others_once(new_harness, processes: Processes) -> None:
    harness = new_harness(MERGE_JOBS="4", LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.3", MAX_ATTEMPTS="2")
    jobs = submit(harness, ["a while", "x", "deadly", "y"])
    for _ in range(2):
        process = processes.start_worker(harness.environment)
        assert process.wait(PATIENCE) == -9, processes.said()
        harness.record_death(process.pid)
    processes.start_worker(harness.environment)
    assert harness.ended(jobs.pop("deadly")).job.error_code == "worker_died"
    assert harness.completed(jobs.pop("a while")).job.attempt == 1
    for job_id in jobs.values():
        seen = harness.completed(job_id)
        assert seen.job.attempt == 2
        assert "drawn_together" not in seen.outputs[0].manifest["effective"]

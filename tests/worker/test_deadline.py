"""A job past its deadline fails as `timeout`; a worker that cannot stop it exits, and the job is requeued."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.core.job import JobStatus, Phase
from app.engines.base import Generation, PartlyDrawn
from app.errors import Cancelled
from app.process.threads import EXIT_STUCK
from tests.processes import Processes
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate, picture
from tests.worker.harness import Harness


def test_a_job_past_its_deadline_stops_and_is_not_retried(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.4")
    engine.behaviours["slow"] = Gate()
    harness.start(engine)
    job = harness.ended(harness.submit("slow")).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 1)
    assert "JOB_TIMEOUT_SECONDS" in (job.error_message or "")
    assert harness.files() == []
    engine.behaviours.clear()
    harness.completed(harness.submit("quick"))


def test_loading_does_not_count_for_the_job(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.3")
    gate = engine.behaviours["slow load"] = Gate(Phase.LOADING)
    harness.start(engine)
    job_id = harness.submit("slow load")
    gate.wait()
    assert not gate.opened.wait(1.0)  # longer than the job may take
    gate.opened.set()
    harness.completed(job_id)


def test_loading_has_a_limit_of_its_own(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(LOAD_TIMEOUT_SECONDS="0.3")
    engine.behaviours["slow load"] = Gate(Phase.LOADING)
    harness.start(engine)
    job = harness.ended(harness.submit("slow load")).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 1)
    assert "LOAD_TIMEOUT_SECONDS" in (job.error_message or "")


def test_the_lease_ends_with_the_time_that_drawing_has(new_harness, engine: FakeEngine) -> None:
    harness = new_harness(JOB_TIMEOUT_SECONDS="100", LOAD_TIMEOUT_SECONDS="5000")
    load, draw = Gate(Phase.LOADING), Gate()
    engine.behaviours["slow"] = lambda control: (load(control), draw(control))
    harness.start(engine)
    job_id = harness.submit("slow")

    def allowed() -> float:
        """Seconds from the claim to the deadline, by the database."""
        with harness.context.database.read() as connection:
            return connection.execute(text("SELECT deadline_at - started_at FROM jobs")).scalar_one()

    load.wait()
    assert allowed() == pytest.approx(5110)
    load.opened.set()
    draw.wait()
    wait_until(lambda: allowed() < 1000, "the deadline did not move")
    assert allowed() > 109
    draw.opened.set()
    harness.completed(job_id)


class Stepwise(FakeEngine):
    """Stops after `finished` pictures when it is told to."""

    def __init__(self, finished: int) -> None:
        super().__init__()
        self._finished = finished

    def generate(self, spec, request, control, *_) -> Generation:
        try:
            Gate()(control)
        except Cancelled:
            images = [picture(request.seed + index) for index in range(self._finished)]
            raise PartlyDrawn(Generation(images, {"steps_run": 2})) from None
        raise AssertionError("it was never stopped")


def test_pictures_that_were_finished_in_time_are_kept(new_harness) -> None:
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.3")
    harness.start(Stepwise(2))
    view = harness.completed(harness.submit(num_images=4))
    seed = view.job.request.seed
    assert [output.seed for output in view.outputs] == [seed, seed + 1]
    (warning,) = view.job.warnings
    assert warning.startswith("Only 2 of 4 were finished within 0.3 seconds (JOB_TIMEOUT_SECONDS).")
    assert warning.endswith(f"seed {seed + 2}.")
    assert len(harness.files()) == 4  # with their thumbnails


def test_pictures_that_were_finished_before_a_cancel_are_not_wanted(harness: Harness) -> None:
    harness.start(Stepwise(2))
    job_id = harness.submit(num_images=4)
    harness.until(job_id, lambda view: view.job.status is JobStatus.PROCESSING)
    harness.context.jobs.cancel(job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED
    assert harness.files() == []


def test_the_lease_outlives_the_time_to_stop(new_harness, engine: FakeEngine, hurried) -> None:
    """The last step may be long: the lease must outlive the deadline, or the job is run a second time for nothing."""
    harness = new_harness(JOB_TIMEOUT_SECONDS="0.3", LEASE_SECONDS="1", HEARTBEAT_SECONDS="0.1")
    gate = engine.behaviours["slow"] = Gate(obeys=False)
    running = harness.start(engine)
    job_id = harness.submit("slow")
    wait_until(
        lambda: [str(job.stop_reason) for job in running.worker._heartbeat.jobs()] == ["expired"], "never expired"
    )
    wait_until(lambda: not gate.opened.wait(1.5), "")  # longer than a lease
    gate.opened.set()
    job = harness.ended(job_id).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 1)


@pytest.mark.parametrize(("prompt", "status"), [("hang", EXIT_STUCK), ("hang in C", 1)])
def test_a_hung_engine_ends_the_process_and_the_job_is_requeued(
    new_harness, engine: FakeEngine, processes: Processes, hurried, monkeypatch, prompt: str, status: int
) -> None:
    monkeypatch.setattr("app.services.context.STOP_GRACE_SECONDS", 0.5)
    limits = {"JOB_TIMEOUT_SECONDS": "0.5", "LOAD_TIMEOUT_SECONDS": "0.5"}
    harness = new_harness(**limits, LEASE_SECONDS="1", HEARTBEAT_SECONDS="0.2")
    job_id = harness.submit(prompt)
    process = processes.start_worker(harness.environment, "stop_grace=0.5")
    assert process.wait(60) == status, processes.said()
    assert harness.view(job_id).job.attempt == 1
    if prompt == "hang in C":
        assert "most recent call first" in processes.said()  # where it hung
    else:
        assert "did not stop after its deadline" in (harness.folder / "logs" / "errors.log").read_text()
    harness.start(engine)
    assert harness.completed(job_id).job.attempt == 2


def test_a_job_that_hangs_every_time_fails_as_timeout(harness: Harness) -> None:
    """Its worker is gone at the deadline, having beaten until then: that is no `worker_died`."""
    from app.services.ops.maintenance import expire_leases

    job_id = harness.submit()
    for _ in range(3):
        with harness.context.database.write() as connection:
            connection.execute(text("UPDATE jobs SET available_at = NULL"))
        assert harness.context.claims.claim("a worker that hangs") is not None
        with harness.context.database.write() as connection:
            connection.execute(text("UPDATE jobs SET lease_expires_at = 5, deadline_at = 5"))
        expire_leases(harness.context)
    job = harness.view(job_id).job
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "timeout", 3)

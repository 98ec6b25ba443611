"""A worker as a process: signals, exit statuses, and its replacement after it gave up."""

from __future__ import annotations

import signal

import pytest

from app.cli.worker import EXIT_CONFIGURATION, EXIT_RECYCLE
from app.core.job import JobStatus, Phase
from app.process.threads import EXIT_BROKEN
from tests.processes import Processes
from tests.waiting import PATIENCE, wait_until
from tests.worker.harness import Harness


def begun(harness: Harness, job_id: str) -> None:
    """Wait until the engine works on it: a job that is no more than claimed would be given back."""
    harness.until(job_id, lambda view: view.job.progress.phase not in (None, Phase.STARTING))


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(harness: Harness, processes: Processes, name: signal.Signals) -> None:
    gate = harness.folder / "gate"
    job_id, waiting = harness.submit("until the gate opens"), harness.submit("next")
    process = processes.start_worker(harness.environment, f"gate={gate}")
    begun(harness, job_id)
    process.send_signal(name)
    wait_until(lambda: [w["state"] for w in harness.context.workers.live()] == ["draining"], processes.said())
    gate.touch()
    assert process.wait(PATIENCE) == 0, processes.said()
    assert harness.view(job_id).job.status is JobStatus.COMPLETED
    assert harness.view(waiting).job.status is JobStatus.PENDING
    assert harness.context.workers.live() == []


def test_a_signal_is_handled_while_the_engine_blocks_the_main_thread(new_harness, processes: Processes) -> None:
    """The engine sleeps on the main thread, where Python's own handlers would wait for it to come back."""
    harness = new_harness(SHUTDOWN_GRACE_SECONDS="30")
    job_id = harness.submit("hang")
    process = processes.start_worker(harness.environment)
    begun(harness, job_id)
    process.terminate()
    wait_until(lambda: [w["state"] for w in harness.context.workers.live()] == ["draining"], processes.said())
    assert process.poll() is None
    process.kill()


def test_a_worker_out_of_memory_is_replaced_and_the_next_job_succeeds(harness: Harness, processes: Processes) -> None:
    huge, small = harness.submit("huge"), harness.submit("small")
    process = processes.start_worker(harness.environment)
    assert process.wait(60) == EXIT_RECYCLE, processes.said()
    assert harness.view(huge).job.error_code == "out_of_memory"
    assert harness.view(small).job.status is JobStatus.PENDING
    processes.start_worker(harness.environment)
    harness.completed(small)


@pytest.mark.parametrize(("what", "status"), [("heartbeat", EXIT_BROKEN), ("publisher", EXIT_BROKEN), ("loop", 1)])
def test_a_failed_thread_ends_the_process(harness: Harness, processes: Processes, what: str, status: int) -> None:
    harness.submit()
    process = processes.start_worker(harness.environment, f"breaks={what}")
    assert process.wait(60) == status, processes.said()
    logged = (harness.folder / "logs" / "errors.log").read_text()
    assert "broken on purpose" in logged
    assert "Traceback" in logged


def test_a_wrong_configuration_is_reported(harness: Harness, processes: Processes) -> None:
    process = processes.start_worker(harness.environment | {"LEASE_SECONDS": "soon"})
    assert process.wait(60) == EXIT_CONFIGURATION
    assert "LEASE_SECONDS" in processes.said()
    assert "Traceback" not in processes.said()

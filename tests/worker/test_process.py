"""A worker as a process: signals, exit statuses, and a fresh one after it had to give up."""

from __future__ import annotations

import signal

import pytest

from app.cli.worker import EXIT_CONFIGURATION, EXIT_RECYCLE
from app.core.job import JobStatus, Phase
from app.worker.critical_thread import EXIT_BROKEN
from tests.processes import Processes
from tests.waiting import PATIENCE, wait_until
from tests.worker.harness import Place


def begun(place: Place, job_id: str) -> None:
    """Wait until the engine works on it: a job that is no more than claimed would be given back."""
    place.until(job_id, lambda view: view.job.progress.phase not in (None, Phase.STARTING))


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(place: Place, processes: Processes, name: signal.Signals) -> None:
    gate = place.folder / "gate"
    job_id, waiting = place.submit("until the gate opens"), place.submit("next")
    process = processes.start_worker(place.environment, f"gate={gate}")
    begun(place, job_id)
    process.send_signal(name)
    wait_until(lambda: [w["state"] for w in place.installation.workers.live()] == ["draining"], processes.said())
    gate.touch()
    assert process.wait(PATIENCE) == 0, processes.said()
    assert place.view(job_id).job.status is JobStatus.COMPLETED
    assert place.view(waiting).job.status is JobStatus.PENDING
    assert place.installation.workers.live() == []


def test_a_signal_is_heard_even_while_the_engine_is_deep_in_its_work(new_place, processes: Processes) -> None:
    """The engine sleeps on the main thread, where Python's own handlers would wait for it to come back."""
    place = new_place(SHUTDOWN_GRACE_SECONDS="30")
    job_id = place.submit("hang")
    process = processes.start_worker(place.environment)
    begun(place, job_id)
    process.terminate()
    wait_until(lambda: [w["state"] for w in place.installation.workers.live()] == ["draining"], processes.said())
    assert process.poll() is None
    process.kill()


def test_a_worker_out_of_memory_makes_way_and_the_next_job_succeeds(place: Place, processes: Processes) -> None:
    huge, small = place.submit("huge"), place.submit("small")
    process = processes.start_worker(place.environment)
    assert process.wait(60) == EXIT_RECYCLE, processes.said()
    assert place.view(huge).job.error_code == "out_of_memory"
    assert place.view(small).job.status is JobStatus.PENDING
    processes.start_worker(place.environment)
    place.completed(small)


@pytest.mark.parametrize(("what", "status"), [("keeper", EXIT_BROKEN), ("publisher", EXIT_BROKEN), ("loop", 1)])
def test_a_worker_that_lost_a_vital_part_ends(place: Place, processes: Processes, what: str, status: int) -> None:
    place.submit()
    process = processes.start_worker(place.environment, f"breaks={what}")
    assert process.wait(60) == status, processes.said()
    logged = (place.folder / "logs" / "errors.log").read_text()
    assert "broken on purpose" in logged
    assert "Traceback" in logged


def test_a_wrong_configuration_is_told_in_words(place: Place, processes: Processes) -> None:
    process = processes.start_worker(place.environment | {"LEASE_SECONDS": "soon"})
    assert process.wait(60) == EXIT_CONFIGURATION
    assert "LEASE_SECONDS" in processes.said()
    assert "Traceback" not in processes.said()

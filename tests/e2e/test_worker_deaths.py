"""Kills: a dead worker's job runs again without waiting for its lease; the end of everything fails no job.

`KILLS=30 python -m pytest tests/e2e/test_worker_deaths.py` is the longer form.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.processes import wait_gone
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
KILLS = int(os.environ.get("KILLS", "3"))
STEPS = 50


def draw(service: Service, number: int) -> str:
    return service.submit(f"picture {number}", "tiny-flux", width=256, height=256, num_inference_steps=STEPS)


def is_drawn(service: Service, job_id: str) -> bool:
    body = service.status(job_id)
    return body["status"] == "PROCESSING" and body["progress"]["step"] > 0


def any_is_drawn(service: Service, jobs: list[str]) -> bool:
    return any(is_drawn(service, job) for job in jobs)


def kill_all(service: Service) -> None:
    family = service.family()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(family)


def test_a_killed_worker_s_job_does_not_wait_for_its_lease(new_service: MakeService, tmp_path: Path) -> None:
    service = new_service(LEASE_SECONDS="3600", JOB_TIMEOUT_SECONDS="7200")
    service.start()
    job_id = draw(service, 0)
    wait_until(lambda: is_drawn(service, job_id), "it was not begun")
    (worker,) = service.workers()
    worker.kill()
    assert service.completed(job_id)["status"] == "COMPLETED"
    with contextlib.closing(sqlite3.connect(tmp_path / "db" / "cyberimage.db")) as database:
        assert database.execute("SELECT cause FROM worker_deaths").fetchall() == [("killed",)]
        assert database.execute("SELECT attempt, max_attempts FROM jobs").fetchall() == [(2, 3)]
    assert 'cyberimage_worker_deaths_total{cause="killed"} 1.0' in service.client.get("/metrics").text


def test_the_cause_of_its_workers_deaths_is_the_error_of_a_job(new_service: MakeService) -> None:
    service = new_service(MAX_ATTEMPTS="1")
    service.start()
    job_id = draw(service, 0)
    wait_until(lambda: is_drawn(service, job_id), "it was not begun")
    (worker,) = service.workers()
    worker.send_signal(11)
    error = service.ended(job_id)["error"]
    assert error["code"] == "worker_died"
    assert "it crashed in native code by signal 11 (SIGSEGV)" in error["message"]


@pytest.mark.timeout(240 + 60 * KILLS)
def test_killing_everything_fails_no_job(new_service: MakeService) -> None:
    service = new_service(LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.5")
    service.start()
    jobs = []
    for number in range(KILLS):
        jobs += [draw(service, 2 * number), draw(service, 2 * number + 1)]
        wait_until(partial(any_is_drawn, service, jobs), "nothing was begun")
        kill_all(service)
        service.start()
    for job in jobs:
        assert service.completed(job)["status"] == "COMPLETED"


def test_after_a_death_for_lack_of_memory_a_smaller_plan_is_taken(new_service: MakeService) -> None:
    service = new_service(command=("-m", "tests.e2e.oom_entry"))
    service.start()
    job_id = draw(service, 0)
    wait_until(lambda: is_drawn(service, job_id), "it was not begun")
    (worker,) = service.workers()
    worker.kill()
    done = service.completed(job_id)
    assert any("held tiny-flux as 32 bit, none, so it is held as float8" in warning for warning in done["warnings"])
    models = service.client.get("/api/models").json()["models"]
    (model,) = (one for one in models if one["id"] == "tiny-flux")
    assert model["killed_plans"] == ["32 bit, none"]
    assert model["memory_plans"] == ["float8, none"]

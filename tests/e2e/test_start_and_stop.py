"""Start, stop and kill: no process or file is left behind, and no accepted job is lost."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.processes import Processes, wait_gone
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.afresh]


def test_killing_run_py_leaves_no_process_behind(new_service) -> None:
    service = new_service(WORKERS="2")
    service.start()
    family = service.family()
    assert len(family) >= 4  # run.py, the API, two workers
    service.run.kill()
    wait_gone(family)
    with pytest.raises(httpx.TransportError):
        service.client.get("/livez")


def test_sigterm_stops_cleanly_and_the_next_start_completes_the_queue(new_service) -> None:
    service = new_service()
    service.start()
    jobs = [service.submit("a boat", "tiny-flux", num_inference_steps=10) for _ in range(3)]
    wait_until(lambda: service.status(jobs[0])["status"] != "PENDING", "no worker claimed it")
    family = service.family()
    assert service.stop() == 0
    wait_gone(family)
    service.start()
    bodies = [service.completed(job_id) for job_id in jobs]
    assert sum(len(body["images"]) for body in bodies) == 3
    assert {body["attempt"] for body in bodies} <= {1, 2}


def test_an_address_in_use_is_reported_and_ends_it(new_service, tmp_path: Path) -> None:
    first = new_service()
    first.start()
    processes = Processes(first.folder / "logs")
    second = processes.start("run.py", **first.environment)
    try:
        assert second.wait(60) != 0
        assert first.is_ready()
    finally:
        processes.close()


def test_after_killing_all_processes_ten_jobs_complete_once(new_service) -> None:
    service = new_service(LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.5")
    service.start()
    jobs = [service.submit(f"boat {number}", "tiny-flux", num_inference_steps=4, num_images=2) for number in range(10)]
    wait_until(lambda: any(service.status(job_id)["status"] == "COMPLETED" for job_id in jobs), "none was done")
    family = service.family()
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    service.run.wait(PATIENCE)
    wait_gone(family)
    service.start()
    bodies = [service.completed(job_id) for job_id in jobs]
    images = [image for body in bodies for image in body["images"]]
    assert Counter(len(body["images"]) for body in bodies) == {2: 10}
    assert len({image["image_id"] for image in images}) == 20
    for image in images:
        content = service.client.get(image["url"]).content
        assert hashlib.sha256(content).hexdigest() == image["sha256"]
    listed = service.client.get("/api/images", params={"limit": 100}).json()["images"]
    assert Counter(each["image_id"] for each in listed) == Counter(image["image_id"] for image in images)

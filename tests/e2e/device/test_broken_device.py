"""A broken device in a real service: no job fails, the service says so, and goes on when the device works again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
COMMAND = ("-m", "tests.e2e.device.run_entry")


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    return tmp_path / "switch"


@pytest.fixture
def broken(new_service: MakeService, switch: Path) -> Service:
    return new_service(command=COMMAND, DEVICE_SWITCH=str(switch), WORKER_POLL_SECONDS="0.2")


@pytest.mark.timeout(900)
def test_a_device_that_breaks_at_every_third_picture_fails_no_job(broken: Service, switch: Path) -> None:
    switch.write_text("third")
    broken.start()
    jobs = [broken.submit(f"picture {number}", "tiny-flux", width=64, height=64) for number in range(10)]
    for job in jobs:
        assert broken.completed(job)["status"] == "COMPLETED"


@pytest.mark.timeout(600)
def test_a_dead_device_fails_no_job_and_is_used_again_when_it_works(broken: Service, switch: Path) -> None:
    broken.start()
    broken.completed(broken.submit("before", "tiny-flux", width=64, height=64))
    switch.write_text("dead")
    jobs = [broken.submit(f"picture {number}", "tiny-flux", width=64, height=64) for number in range(5)]
    wait_until(lambda: "0 of 1 devices work" in broken.client.get("/readyz").text, "/readyz does not say it")
    assert broken.client.get("/readyz").status_code == 503
    (worker,) = broken.client.get("/status").json()["workers"]
    assert worker["state"] == "unhealthy"
    assert "illegal memory access" in worker["device_error"]
    metrics = broken.client.get("/metrics").text
    assert 'cyberimage_workers{state="unhealthy"} 1.0' in metrics
    assert "cyberimage_device_healthy{" in metrics
    assert [broken.status(job)["status"] for job in jobs] == ["PENDING"] * 5
    switch.unlink()
    for job in jobs:
        broken.completed(job)
    wait_until(broken.is_ready, "it did not get ready again")

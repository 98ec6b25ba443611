"""SIGTERM drains: readyz fails, streams end, the running job finishes or is requeued, and the exit status is 0."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.processes import wait_gone
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LONG = 40  # steps


def is_drawing(service, job_id: str) -> bool:
    state = service.status(job_id)
    return state["status"] == "PROCESSING" and state["progress"]["step"] >= 1


def fresh_answer(service, path: str) -> httpx.Response:
    """On a connection of its own, as from the health check of a proxy."""
    return httpx.get(f"{service.client.base_url}{path}", timeout=30)


def test_readyz_fails_and_the_running_job_finishes(new_service) -> None:
    service = new_service(SHUTDOWN_GRACE_SECONDS="60")
    service.start()
    job_id = service.submit("a boat", "tiny-flux", num_inference_steps=LONG)
    waiting = service.submit("another", "tiny-flux")
    wait_until(lambda: is_drawing(service, job_id), "no worker claimed it")
    family = service.family()
    with service.client.stream("GET", f"/api/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("event:"))
        service.run.send_signal(signal.SIGTERM)
        wait_until(lambda: "is stopping" in fresh_answer(service, "/readyz").text, "it never said that it drains")
        refused = httpx.post(f"{service.client.base_url}/api/generate", json={"prompt": "a boat"}, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert fresh_answer(service, f"/api/status/{job_id}").json()["status"] == "PROCESSING"
        assert any('"COMPLETED"' in line for line in lines)
    assert service.run.wait(90) == 0
    wait_gone(family)
    service.start()
    assert service.status(job_id)["attempt"] == 1
    assert service.completed(job_id)["attempt"] == 1
    assert service.completed(waiting)["attempt"] == 1


def test_past_the_grace_period_the_job_is_requeued_and_streams_end(new_service) -> None:
    service = new_service(SHUTDOWN_GRACE_SECONDS="0.5")
    service.start()
    job_id = service.submit("a boat", "tiny-flux", num_inference_steps=LONG)
    wait_until(lambda: is_drawing(service, job_id), "no worker claimed it")
    with service.client.stream("GET", f"/api/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("event:"))
        service.run.send_signal(signal.SIGTERM)
        events = list(lines)  # to the end: the connection is closed properly
    assert not any("FAILED" in line or "COMPLETED" in line for line in events)
    assert service.run.wait(90) == 0
    service.start()
    body = service.completed(job_id)
    assert (body["attempt"], len(body["images"])) == (2, 1)

"""PRELOAD=default: the service is ready when its model is loaded, and a job's timings explain where its time went."""

from __future__ import annotations

from datetime import datetime


def test_the_first_job_waits_for_nothing(new_service) -> None:
    service = new_service(PRELOAD="default")
    service.start()
    (model,) = [each for each in service.client.get("/api/models").json()["models"] if each["id"] == "tiny-flux"]
    assert model["loaded"]
    job = service.ended(service.submit("a red circle", "tiny-flux"))
    assert job["status"] == "COMPLETED"
    assert "loading_model" not in job["timings"]
    started, completed = (datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at"))
    explained = sum(seconds for phase, seconds in job["timings"].items() if phase != "queued")
    assert explained >= 0.8 * (completed - started).total_seconds()

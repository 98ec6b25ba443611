"""From the request to the picture, as a client sees it."""

from __future__ import annotations

import re

import pytest

from app.core.catalog import Catalog
from app.core.job import JobStatus

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_an_accepted_job(client):
    answer = client.post("/api/generate", json={"prompt": " a red fox ", "settings": {"seed": 7, "num_images": 2}})
    assert answer.status_code == 202
    job_id = answer.json["job_id"]
    assert answer.headers["Location"] == f"/api/status/{job_id}" == answer.json["status_url"]
    assert answer.json["events_url"] == f"/api/jobs/{job_id}/events"
    assert (answer.json["status"], answer.json["position"], answer.json["warnings"]) == ("PENDING", 1, [])
    status = client.get(answer.json["status_url"]).json
    assert (status["prompt"], status["model_id"], status["settings"]["seed"]) == ("a red fox", "demo", 7)
    assert TIME.fullmatch(status["created_at"])
    assert (status["started_at"], status["error"], status["images"]) == (None, None, [])


def test_what_a_model_does_not_use_is_told(client):
    body = {"prompt": "x", "model_id": "sana-sprint", "settings": {"num_inference_steps": 30}}
    answer = client.post("/api/generate", json=body)
    assert "30" in answer.json["warnings"][0]
    assert client.get(answer.json["status_url"]).json["warnings"] == answer.json["warnings"]


def test_a_random_seed_is_reported(client, submit):
    asked = submit(settings={"seed": -1})
    assert client.get(f"/api/status/{asked}").json["settings"]["seed"] >= 0


def test_progress_and_completion_reach_a_client_that_polls(client, submit, worker):
    job_id = submit(settings={"num_images": 2, "num_inference_steps": 8, "seed": 5})
    poll = lambda: client.get(f"/api/status/{job_id}").json  # noqa: E731
    assert poll()["position"] == 1
    claim = worker.claim()
    assert (poll()["status"], poll()["position"], poll()["attempt"]) == ("PROCESSING", None, 1)
    worker.progress(claim, 4)
    told = {"phase": "generating", "step": 4, "total_steps": 8, "percent": 49, "seconds_per_step": None}
    told |= {"downloaded_bytes": None, "total_bytes": None}
    assert poll()["progress"] == told
    ids = worker.finish(claim)
    done = poll()
    assert done["status"] == "COMPLETED"
    assert done["progress"]["percent"] == 100
    assert [image["image_id"] for image in done["images"]] == ids
    assert [image["seed"] for image in done["images"]] == [5, 6]
    assert TIME.fullmatch(done["completed_at"])
    assert done["timings"]["generate"] == 0.5


def test_a_removed_picture_leaves_the_status_that_was_read_before(client, submit, worker):
    job_id = submit(settings={"num_images": 2})
    first, second = worker.finish()
    assert len(client.get(f"/api/status/{job_id}").json["images"]) == 2
    assert client.delete(f"/api/image/{first}").status_code == 204
    assert [image["image_id"] for image in client.get(f"/api/status/{job_id}").json["images"]] == [second]


def test_the_place_in_line_follows_the_line(client, submit, worker):
    first, second, urgent = submit(), submit(), submit(priority=5)
    harness = lambda job_id: client.get(f"/api/status/{job_id}").json["position"]  # noqa: E731
    assert [harness(job) for job in (urgent, first, second)] == [1, 2, 3]
    worker.claim()
    assert [harness(job) for job in (urgent, first, second)] == [None, 1, 2]


def test_a_failure_says_why(client, submit, worker):
    job_id = submit()
    worker.fail()
    status = client.get(f"/api/status/{job_id}").json
    assert status["status"] == "FAILED"
    assert status["error"] == {"code": "out_of_memory", "message": "Not enough memory; choose a smaller size."}


def test_cancel_and_retry(client, submit, worker, problem):
    job_id = submit()
    problem(client.post(f"/api/jobs/{job_id}/retry"), 409, "conflict")
    assert client.post(f"/api/jobs/{job_id}/cancel").json["status"] == "CANCELLED"
    assert client.get(f"/api/status/{job_id}").json["status"] == "CANCELLED"
    assert client.post(f"/api/jobs/{job_id}/retry").json["status"] == "PENDING"
    assert client.get(f"/api/status/{job_id}").json["position"] == 1
    worker.finish()
    problem(client.post(f"/api/jobs/{job_id}/cancel"), 409, "conflict")


def test_a_job_whose_model_is_gone_is_not_retried(client, submit, context, problem):
    job_id = submit(model_id="sana-sprint")
    client.post(f"/api/jobs/{job_id}/cancel")
    others = [spec for spec in context.catalog if spec.id != "sana-sprint"]
    context.catalog = Catalog(others, others[0].id)
    told = problem(client.post(f"/api/jobs/{job_id}/retry"), 400, "unknown_model")
    assert "sana-sprint is no longer in the catalogue" in told["detail"]
    assert client.get(f"/api/status/{job_id}").json["status"] == "CANCELLED"


def test_a_job_whose_model_files_are_gone_is_not_retried(client, submit, context, problem, tmp_path):
    job_id = submit(model_id="demo")
    client.post(f"/api/jobs/{job_id}/cancel")
    moved = [spec.model_copy(update={"repo": str(tmp_path / "moved")}) for spec in context.catalog]
    context.catalog = Catalog([spec.model_copy(update={"source": "local"}) for spec in moved], "demo")
    assert "are missing" in problem(client.post(f"/api/jobs/{job_id}/retry"), 409, "conflict")["detail"]


class TestIdempotencyKey:
    def send(self, client, **body):
        return client.post("/api/generate", json={"prompt": "x", **body}, headers={"Idempotency-Key": "key 1"})

    def test_the_same_request_makes_one_job(self, client, context):
        first, second = self.send(client), self.send(client)
        assert first.status_code == second.status_code == 202
        assert first.json == second.json
        assert first.headers["Location"] == second.headers["Location"]
        assert context.jobs.counts()[JobStatus.PENDING] == 1

    def test_it_is_the_same_answer_after_the_job_has_ended(self, client, submit, worker):
        submit()
        first = self.send(client)
        worker.finish()
        worker.finish()
        assert client.get(first.json["status_url"]).json["status"] == "COMPLETED"
        again = self.send(client)
        assert (again.status_code, again.json) == (202, first.json)
        assert (again.json["status"], again.json["position"]) == ("PENDING", 2)

    @pytest.mark.parametrize("other", [{"prompt": "y"}, {"priority": 1}, {"settings": {"seed": 1}}])
    def test_another_request_is_refused(self, client, problem, other):
        self.send(client)
        problem(self.send(client, **other), 422, "idempotency_conflict")


def test_a_full_queue_and_a_full_disk_are_told(client, problem, context, monkeypatch):
    monkeypatch.setattr(type(context.jobs), "count_pending", lambda _: 10**6)
    answer = client.post("/api/generate", json={"prompt": "x"})
    problem(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.setattr(type(context.images), "free_bytes", lambda _: -1)
    problem(client.post("/api/generate", json={"prompt": "x"}), 507, "disk_full")

"""Text to picture in one call: the picture, the error of the job, or 202 and the work goes on."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading

import pytest
from PIL import Image

from app import create_app
from app.store.queue.workers import WorkerReport
from tests.server.serving import served
from tests.waiting import wait_until

PATHS = ["/api/v1/generate/txt2img", "/api/v1/txt2img", "/v1/generate/txt2img", "/v1/txt2img"]
FLAT = {"prompt": "a red fox", "model_id": "demo", "num_inference_steps": 8, "guidance_scale": 3.0}


@pytest.mark.parametrize("path", PATHS)
def test_every_spelling_answers_with_the_picture(client, worker, next_job, path):
    with next_job(worker.finish):
        answer = client.post(path, json={**FLAT, "seed": 7, "num_images": 2})
    assert answer.status_code == 200, answer.text
    body = answer.json
    assert (body["seed"], body["model_id"], body["safety_filter_result"]) == (7, "demo", "skipped")
    assert body["image"] == body["images"][0] != body["images"][1]
    for encoded, output in zip(body["images"], body["outputs"], strict=True):
        content = base64.b64decode(encoded, validate=True)
        assert content == client.get(output["url"]).data
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 48))
    assert body["latency_ms"] >= 0
    assert body["vram_peak_mb"] is None  # no GPU: nothing was measured
    settings = client.get(f"/api/status/{body['job_id']}").json["settings"]
    assert (settings["num_inference_steps"], settings["guidance_scale"], settings["num_images"]) == (8, 3.0, 2)


def test_a_random_seed_is_reported(client, worker, next_job):
    with next_job(worker.finish):
        body = client.post("/v1/txt2img", json={**FLAT, "seed": -1}).json
    assert body["seed"] == body["outputs"][0]["seed"] >= 0


def test_past_the_timeout_the_work_goes_on(client, worker):
    answer = client.post("/v1/txt2img", json={**FLAT, "timeout": 0.05})
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["status_url"]
    assert answer.headers["Retry-After"]
    assert answer.json["status"] == "PENDING"
    worker.finish()
    assert client.get(answer.json["status_url"]).json["status"] == "COMPLETED"


def test_one_that_runs_is_told_as_running(client, worker, next_job):
    with next_job(worker.claim):
        answer = client.post("/v1/txt2img", json={**FLAT, "timeout": 1})
    assert (answer.status_code, answer.json["status"], answer.json["position"]) == (202, "PROCESSING", None)


def test_a_failed_job_answers_its_own_error(client, worker, next_job, problem):
    with next_job(worker.fail):
        answer = client.post("/v1/txt2img", json=FLAT)
    assert "smaller size" in problem(answer, 507, "out_of_memory")["detail"]
    assert client.get(f"/api/status/{answer.headers['X-Job-Id']}").json["status"] == "FAILED"


def test_a_cancelled_job_says_so(client, context, next_job, problem):
    with next_job(lambda: client.post(f"/api/jobs/{context.jobs.waiting()[0].id}/cancel")):
        answer = client.post("/v1/txt2img", json=FLAT)
    problem(answer, 409, "job_cancelled")


def test_when_as_many_wait_as_may_nobody_else_waits(app, client):
    app.extensions["cyberimage"].waiting_slots = threading.BoundedSemaphore(1)
    app.extensions["cyberimage"].waiting_slots.acquire()
    assert client.post("/v1/txt2img", json={**FLAT, "timeout": 3600}).status_code == 202


def test_the_place_of_who_waited_is_free_again(app, client, worker, next_job):
    here = app.extensions["cyberimage"]
    free = here.waiting_slots._value
    for how in (worker.finish, worker.fail):
        with next_job(how):
            client.post("/v1/txt2img", json=FLAT)
    assert here.waiting_slots._value == free
    assert not here.notifier._followers


def test_a_server_that_stops_lets_nobody_wait(app, client):
    app.extensions["cyberimage"].draining.set()
    assert client.post("/v1/txt2img", json={**FLAT, "timeout": 3600}).status_code == 202


@pytest.mark.parametrize("path", ["/v1/txt2img", "/v1/models/load"])
def test_a_call_ends_when_its_client_has_gone(app, context, path):
    here = app.extensions["cyberimage"]
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu"))
    free = here.waiting_slots._value
    body = json.dumps(
        {"model_id": "demo", "timeout": 3600} | ({"prompt": "a fox"} if "txt2img" in path else {})
    ).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with served(app) as address:
        with socket.create_connection(address.split(":")) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + body)
            wait_until(lambda: here.waiting_slots._value == free - 1, "it does not wait")
        wait_until(lambda: here.waiting_slots._value == free, "it waits for nobody")
    assert context.jobs.count_pending() == ("txt2img" in path)  # the job goes on


def test_the_same_key_gives_the_same_picture(client, worker, next_job, context):
    headers = {"Idempotency-Key": "one"}
    with next_job(worker.finish):
        first = client.post("/v1/txt2img", json=FLAT, headers=headers).json
    assert client.post("/api/v1/txt2img", json=FLAT, headers=headers).json == first
    assert client.post("/v1/txt2img", json={**FLAT, "prompt": "other"}, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 101}, "num_inference_steps"),
        ({"guidance_scale": 0.9}, "guidance_scale"),
        ({"guidance_scale": 20.1}, "guidance_scale"),
        ({"guidance_scale": 5.1}, "guidance_scale"),  # demo's own rule
        ({"width": 100, "height": 256}, "width"),
        ({"seed": -2}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"timeout": -1}, "timeout"),
        ({"steps": 8}, "steps"),
        ({"prompt": " "}, "prompt"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_sent(client, problem, context, wrong, field):
    body = problem(client.post("/v1/txt2img", json=FLAT | wrong), 400, "invalid_request")
    assert [one["field"] for one in body["errors"]] == [field]
    assert "settings." not in body["detail"]
    assert not context.jobs.count_pending()


def test_other_programs_names_are_taken_once(client, problem, context):
    sent = client.post(
        "/v1/txt2img", json={"prompt": "a fox", "steps": 8, "cfg_scale": 3, "n": 2, "model": "DEMO", "timeout": 0}
    )
    assert sent.status_code == 202, sent.json
    job = context.jobs.get(sent.headers["X-Job-Id"])
    assert (job.request.num_inference_steps, job.request.guidance_scale, job.request.num_images) == (8, 3, 2)
    assert job.request.model_id == "demo"
    assert job.warnings[0].startswith("model was read as model_id")
    twice = problem(client.post("/v1/txt2img", json=FLAT | {"steps": 8}), 400, "invalid_request")
    assert "is another name of num_inference_steps" in twice["errors"][0]["message"]


def test_a_model_of_videos(settings_in, tmp_path, problem):
    line = 'film;owner/film;Films;replicate;false;{"media": "video"}'
    app = create_app(settings_in(tmp_path, model_lines={"MODEL_F": line}))
    found = problem(app.test_client().post("/v1/txt2img", json={**FLAT, "model_id": "film"}), 400, "unsupported_task")
    assert [one["field"] for one in found["errors"]] == ["model_id"]
    app.extensions["cyberimage"].close()


def test_an_unknown_model(client, problem):
    problem(client.post("/v1/txt2img", json=FLAT | {"model_id": "none"}), 400, "unknown_model")


def test_it_counts_as_generating(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, rate_limit_generate="3/minute"))
    client = app.test_client()
    body = FLAT | {"timeout": 0, "num_images": 2}
    assert [client.post("/v1/txt2img", json=body).status_code for _ in range(2)] == [202, 429]
    app.extensions["cyberimage"].close()

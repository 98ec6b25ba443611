"""Batches over HTTP: all or nothing, all errors at once, owners, life, and repeated requests."""

from __future__ import annotations

from typing import Any

import pytest

from app import create_app
from app.services.batches.life import keep_up
from tests.api.native.keyed import Keyed

GRID: dict[str, Any] = {
    "prompt": "a {cat|dog}",
    "axes": [{"field": "settings.guidance_scale", "values": [2, 3]}],
    "settings": {"seed": 5, "width": 128, "height": 128},
}


@pytest.fixture
def wildcards(context):
    folder = context.settings.wildcards_folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def app(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, wildcards_dir=str(tmp_path / "wildcards"), max_batch_jobs=200))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def batch(client):
    """Submit a batch that must be accepted; gives its id."""

    def send(body: dict[str, Any] = GRID, **more: Any) -> str:
        answer = client.post("/api/batches", json={**body, **more})
        assert answer.status_code == 202, answer.text
        return answer.json["batch_id"]

    return send


def status(client, batch_id: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/batches/{batch_id}", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def fields(answer) -> list[str]:
    assert answer.status_code == 400, answer.text
    return [each["field"] for each in answer.json["errors"]]


def test_a_grid_of_prompts_and_guidance(client, batch, worker):
    batch_id = batch(name="my grid")
    for _ in range(3):
        worker.finish()
    found = status(client, batch_id)
    assert (found["name"], found["jobs"], found["percent"], found["status"]) == ("my grid", 4, 75, "RUNNING")
    assert found["counts"] == {"PENDING": 1, "PROCESSING": 0, "COMPLETED": 3, "FAILED": 0, "CANCELLED": 0}
    assert [(each["at"], each["prompt"], each["seed"], len(each["images"])) for each in found["places"]] == [
        ([0, 0], "a cat", 5, 1),
        ([0, 1], "a cat", 5, 1),
        ([1, 0], "a dog", 5, 1),
        ([1, 1], "a dog", 5, 0),
    ]
    assert [(axis["field"], axis["values"]) for axis in found["axes"]] == [
        ("prompt", ["a cat", "a dog"]),
        ("settings.guidance_scale", ["2", "3"]),
    ]
    job = client.get(f"/api/status/{found['places'][3]['job_id']}").json
    assert (job["settings"]["guidance_scale"], job["settings"]["seed"], job["prompt"]) == (3.0, 5, "a dog")
    page = status(client, batch_id, offset=1, limit=2)
    assert ([each["place"] for each in page["places"]], page["next_offset"]) == ([1, 2], 3)


def test_braces_stay_literal_elsewhere(client, submit):
    job_id = submit("a {cat|dog} __colour__")
    assert client.get(f"/api/status/{job_id}").json["prompt"] == "a {cat|dog} __colour__"


def test_a_dry_run_makes_nothing_and_says_the_same(client, batch, context):
    answer = client.post("/api/batches?limit=3", json={**GRID, "dry_run": True})
    assert answer.status_code == 200
    assert (answer.json["jobs"], len(answer.json["planned"]), context.jobs.count_pending()) == (4, 3, 0)
    planned = [(each["prompt"], each["settings"]["guidance_scale"]) for each in answer.json["planned"]]
    made = status(client, batch())["places"][:3]
    settings = [client.get(f"/api/status/{each['job_id']}").json["settings"]["guidance_scale"] for each in made]
    assert planned == list(zip((each["prompt"] for each in made), settings, strict=True))


def test_a_dry_run_counts_pictures_and_knows_no_time_before_something_alike_was_made(client):
    axes = [{"field": "size", "values": ["128x128", "256x128"]}]
    body = {"prompt": "{a|b}", "axes": axes, "settings": {"num_images": 2}}
    found = client.post("/api/batches", json={**body, "dry_run": True}).json
    assert (found["jobs"], found["images"], found["seconds"]) == (4, 8, None)
    sizes = {(each["settings"]["width"], each["settings"]["height"]) for each in found["planned"]}
    assert sizes == {(128, 128), (256, 128)}


def test_a_job_says_its_batch(client, batch, submit):
    batch_id = batch()
    job_id = status(client, batch_id)["places"][0]["job_id"]
    assert client.get(f"/api/status/{job_id}").json["batch_id"] == batch_id
    assert {each["batch_id"] for each in client.get("/api/queue").json["waiting"]} == {batch_id}
    assert client.get(f"/api/status/{submit('alone')}").json["batch_id"] is None


def test_wildcards_come_from_files_of_their_folder_alone(client, batch, wildcards, tmp_path):
    (wildcards / "colour.txt").write_text("red\n# no colour\n\n{light|dark} blue\n")
    (tmp_path / "secret.txt").write_text("secret")
    (wildcards / "link.txt").symlink_to(tmp_path / "secret.txt")
    (wildcards / "sub").mkdir()
    (wildcards / "sub" / "cats.txt").write_text("a __colour__ cat")
    found = status(client, batch({"prompt": "__sub/cats__"}))
    assert [each["prompt"] for each in found["places"]] == ["a red cat", "a light blue cat", "a dark blue cat"]
    for name in ("link", "none", "sub"):
        assert fields(client.post("/api/batches", json={"prompt": f"__{name}__"})) == ["prompt"]
    literal = status(client, batch({"prompt": "__../secret__ {a|b}"}))
    assert literal["places"][0]["prompt"] == "__../secret__ a"
    (wildcards / "large.txt").write_bytes(b"x" * 1_000_001)
    assert "bytes" in client.post("/api/batches", json={"prompt": "__large__"}).json["detail"]


def test_an_explosion_is_told_and_stores_nothing(client, context, problem):
    body = problem(
        client.post("/api/batches", json={"prompt": " ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 12)}), 400, "invalid_request"
    )
    assert "1,000,000,000,000 jobs" in body["detail"]
    assert context.jobs.count_pending() == 0


def test_all_that_is_wrong_is_told_with_its_place_and_nothing_is_stored(client, context, problem):
    axes = [
        {"field": "settings.guidance_scale", "values": [2, 900]},
        {"field": "settings.width", "values": [128, 129]},
    ]
    body = problem(client.post("/api/batches", json={"prompt": "{a|b}", "axes": axes}), 400, "invalid_request")
    told = {each["field"]: each["message"] for each in body["errors"]}
    assert set(told) == {"jobs.1.settings.width", "jobs.2.settings.guidance_scale"}
    assert "in 3 more" in told["jobs.1.settings.width"]
    assert body["detail"].startswith("6 jobs cannot be made")
    axes = [
        {"field": "model_id", "values": ["drawings", "no-such-model"]},
        {"field": "settings.width", "values": ["x"]},
    ]
    assert set(fields(client.post("/api/batches", json={"prompt": "a", "axes": axes}))) >= {"jobs.0.settings.width"}
    assert fields(client.post("/api/batches", json={"prompt": "a", "axes": [{"field": "shape", "values": [1]}]})) == [
        "axes.0.field"
    ]
    assert context.jobs.count_pending() == 0
    assert client.get("/api/batches").json["batches"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "a", "axes": []} | {"seeds": []},
        {"prompt": "a", "seeds": -1},
        {"prompt": "a", "axes": [{"field": "settings.seed", "values": []}]},
        {"prompt": "a", "axis": []},
        {"prompt": "a", "skip_invalid": True},
        {"prompt": "a", "max_seconds": 0},
        {"prompt": "a", "webhook_url": "ftp://x"},
        {"prompt": "x" * 501},
        {"prompt": "a", "mode": "sampled"},
        {"prompt": "a", "lines": {"format": "csv", "text": "prompt\na"}},
    ],
)
def test_bad_requests(client, context, body):
    assert client.post("/api/batches", json=body).status_code == 400
    assert context.jobs.count_pending() == 0


def test_a_repeated_request_is_the_same_batch(client, context, problem):
    headers = {"Idempotency-Key": "k"}
    first, again = (client.post("/api/batches", json=GRID, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["batch_id"] == again.json["batch_id"]
    assert context.jobs.count_pending() == 4
    other = client.post("/api/batches", json={**GRID, "seeds": 2}, headers=headers)
    problem(other, 422, "idempotency_conflict")
    problem(client.post("/api/generate", json={"prompt": "x"}, headers=headers), 422, "idempotency_conflict")


def test_files_of_lines(client, context):
    text = "prompt,seed,width,height\na {cat},5,128,128\n,6,128,128\nb,7,129,128\n"
    refused = client.post("/api/batches", data=text, content_type="text/csv")
    assert fields(refused) == ["lines.3.prompt", "lines.4.settings.width"]
    query = "?skip_invalid=true&name=from%20a%20file"
    made = client.post(f"/api/batches{query}", data=text, content_type="text/csv")
    assert made.status_code == 202, made.text
    assert (made.json["jobs"], len(made.json["skipped"])) == (1, 2)
    found = status(client, made.json["batch_id"])
    assert (found["name"], found["places"][0]["prompt"], found["places"][0]["seed"]) == ("from a file", "a {cat}", 5)
    lines = '{"prompt": "x", "settings": {"seed": 1}}\n{"prompt": "y"}\n'
    made = client.post("/api/batches", data=lines, content_type="application/jsonl")
    assert made.json["jobs"] == 2
    assert fields(client.post("/api/batches?color=1", data=lines, content_type="application/jsonl")) == ["color"]
    assert client.post("/api/batches", data=b"\xff\xfe", content_type="text/csv").status_code == 400
    assert client.post("/api/generate", data=text, content_type="text/csv").status_code == 415
    too_large = b"prompt\n" + b"x" * (9 * 1024 * 1024)
    assert client.post("/api/batches", data=too_large, content_type="text/csv").status_code == 413


def test_pause_resume_priority_cancel_and_retry(client, batch, worker, context, problem):
    batch_id = batch()
    call = lambda what, **body: client.post(f"/api/batches/{batch_id}/{what}", json=body or None)  # noqa: E731
    worker.fail()
    assert call("pause").json["status"] == "PAUSED"
    assert context.claims.claim("w") is None
    waiting = status(client, batch_id)["places"][3]["job_id"]
    shown = client.get(f"/api/status/{waiting}").json
    assert (shown["position"], shown["eta_seconds"], shown["lane"]) == (None, None, "local")
    assert call("resume").json["status"] == "RUNNING"
    assert call("priority", priority=-3).json["priority"] == -3
    worker.finish()
    assert call("cancel").json["stopped"] == "cancelled"
    assert call("cancel").status_code == 200
    problem(call("pause"), 409, "conflict")
    problem(client.post(f"/api/batches/{batch_id}/jobs", json={"prompt": "x"}), 409, "conflict")
    retried = call("retry-failed")
    assert (retried.json["retried"], retried.json["batch"]["stopped"]) == (1, None)
    assert call("retry-failed", cancelled=True).json["retried"] == 2
    problem(call("retry-failed"), 409, "conflict")
    for _ in range(3):
        worker.finish()
    found = status(client, batch_id)
    assert (found["percent"], found["status"], found["counts"]["COMPLETED"]) == (100, "ENDED", 4)


def test_jobs_are_added_after_the_last_place(client, batch):
    batch_id = batch()
    made = client.post(f"/api/batches/{batch_id}/jobs", json={"prompt": "a {bird|fish}"})
    assert (made.status_code, made.json["jobs"], made.json["total"]) == (202, 2, 6)
    places = status(client, batch_id)["places"]
    assert [(each["at"], each["prompt"]) for each in places[3:]] == [
        ([1, 1], "a dog"),
        (None, "a bird"),
        (None, "a fish"),
    ]
    refused = client.post(f"/api/batches/{batch_id}/jobs", json={"prompt": "a", "seeds": 195})
    assert "MAX_BATCH_JOBS" in refused.json["detail"]


def test_jobs_that_are_added_twice_are_added_once(client, batch, context, problem):
    batch_id, headers = batch(), {"Idempotency-Key": "more"}
    add = lambda prompt: client.post(f"/api/batches/{batch_id}/jobs", json={"prompt": prompt}, headers=headers)  # noqa: E731
    first, again = add("a {bird|fish}"), add("a {bird|fish}")
    assert (first.json, first.status_code) == (again.json, again.status_code)
    assert context.jobs.count_pending() == 6
    problem(add("another"), 422, "idempotency_conflict")


def test_a_batch_that_would_overfill_the_queue_is_refused_whole(client, settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, queue_max_pending=5))
    client = app.test_client()
    assert client.post("/api/generate", json={"prompt": "x"}).status_code == 202
    problem(client.post("/api/batches", json={"prompt": "x", "seeds": 5}), 429, "queue_full")
    assert client.post("/api/batches", json={"prompt": "x", "seeds": 4}).status_code == 202
    app.extensions["cyberimage"].close()


def test_a_rate_limit_counts_all_its_pictures(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, rate_limit_generate="10 per hour"))
    client = app.test_client()
    assert client.post("/api/batches", json={"prompt": "{a|b}", "seeds": 4, "dry_run": True}).status_code == 200
    assert client.post("/api/batches", json={"prompt": "{a|b}", "seeds": 4}).status_code == 202
    assert client.post("/api/generate", json={"prompt": "x", "settings": {"num_images": 2}}).status_code == 202
    problem(client.post("/api/generate", json={"prompt": "x"}), 429, "rate_limited")
    app.extensions["cyberimage"].close()


def test_what_belongs_to_another_client_is_not_there(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    keyed = Keyed(app)
    batch_id = keyed.alice.post("/api/batches", json=GRID).json["batch_id"]
    problem(keyed.bob.get(f"/api/batches/{batch_id}"), 404, "batch_not_found")
    for what in ("pause", "cancel", "retry-failed", "jobs", "priority"):
        problem(keyed.bob.post(f"/api/batches/{batch_id}/{what}", json={"prompt": "x"}), 404, "batch_not_found")
    assert keyed.bob.get("/api/batches").json["batches"] == []
    assert [each["batch_id"] for each in keyed.root.get("/api/batches").json["batches"]] == [batch_id]
    assert keyed.root.get(f"/api/batches/{batch_id}").status_code == 200
    problem(keyed.alice.post("/api/batches", json={**GRID, "priority": 1}), 403, "forbidden")
    problem(keyed.alice.post(f"/api/batches/{batch_id}/priority", json={"priority": 1}), 403, "forbidden")
    app.extensions["cyberimage"].close()


def test_the_list_is_paged(client, batch):
    made = sorted(batch({"prompt": "x"}) for _ in range(3))[::-1]
    first = client.get("/api/batches?limit=2").json
    assert [each["batch_id"] for each in first["batches"]] == made[:2]
    second = client.get(f"/api/batches?limit=2&cursor={first['next_cursor']}").json
    assert ([each["batch_id"] for each in second["batches"]], second["next_cursor"]) == (made[2:], None)


def test_the_end_is_noted_by_maintenance(client, batch, worker, context):
    batch_id = batch()
    for _ in range(4):
        worker.finish()
    keep_up(context)
    assert status(client, batch_id)["ended_at"] is not None


def test_one_in_need_of_a_model_that_is_gone_is_not_retried(client, batch, worker, context, problem):
    batch_id = batch()
    worker.fail()
    with context.database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET model_id = 'gone'")
    problem(client.post(f"/api/batches/{batch_id}/retry-failed"), 400, "unknown_model")


def test_a_control_picture_of_the_gallery_is_an_axis(client, batch, worker, submit):
    submit()
    image_id = worker.finish()[0]
    found = status(client, batch({"prompt": "a", "axes": [{"field": "image", "values": [image_id]}], "seeds": 2}))
    jobs = [client.get(f"/api/status/{each['job_id']}").json for each in found["places"]]
    assert [job["inputs"]["image"]["image_id"] for job in jobs] == [image_id, image_id]
    refused = client.post("/api/batches", json={"prompt": "a", "axes": [{"field": "image", "values": ["0" * 32]}]})
    assert fields(refused) == ["jobs.0.image"]


@pytest.fixture
def small(settings_in, tmp_path):
    """A client of a server whose queue takes five jobs."""
    app = create_app(settings_in(tmp_path, queue_max_pending=5))
    yield app.test_client()
    app.extensions["cyberimage"].context.close()


def submitted(client, number: int) -> str:
    answer = client.post("/api/batches", json={"prompt": "x", "seeds": number})
    assert answer.status_code == 202, answer.text
    return answer.json["batch_id"]


def test_retrying_is_no_way_around_a_full_queue(small, problem):
    batch_id = submitted(small, 4)
    small.post(f"/api/batches/{batch_id}/cancel")
    other = submitted(small, 4)
    retry = lambda: small.post(f"/api/batches/{batch_id}/retry-failed", json={"cancelled": True})  # noqa: E731
    assert "QUEUE_MAX_PENDING" in problem(retry(), 429, "queue_full")["detail"]
    places = status(small, batch_id)["places"]
    assert {each["status"] for each in places} == {"CANCELLED"}
    assert small.post(f"/api/jobs/{places[0]['job_id']}/retry").status_code == 200
    problem(small.post(f"/api/jobs/{places[1]['job_id']}/retry"), 429, "queue_full")
    small.post(f"/api/batches/{other}/cancel")
    assert retry().json["retried"] == 3


def test_a_paused_batch_keeps_the_queue_open_for_others(small, problem):
    first = submitted(small, 5)
    problem(small.post("/api/generate", json={"prompt": "x"}), 429, "queue_full")
    assert small.post(f"/api/batches/{first}/pause").status_code == 200
    second = submitted(small, 2)
    refused = small.post(f"/api/batches/{first}/resume")
    assert "2 are waiting already" in problem(refused, 429, "queue_full")["detail"]
    assert "Retry-After" in refused.headers
    assert status(small, first)["status"] == "PAUSED"
    refused = problem(small.post(f"/api/batches/{second}/pause"), 429, "queue_full")
    assert "Resume or cancel a paused batch" in refused["detail"]
    more = small.post(f"/api/batches/{first}/jobs", json={"prompt": "x"})
    assert "paused" in problem(more, 429, "queue_full")["detail"]
    small.post(f"/api/batches/{second}/cancel")
    assert small.post(f"/api/batches/{first}/resume").json["status"] == "RUNNING"


def test_more_jobs_do_not_get_the_priority_that_an_administrator_gave(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    keyed = Keyed(app)
    batch_id = keyed.alice.post("/api/batches", json={"prompt": "x"}).json["batch_id"]
    for person, priority in ((keyed.root, 5), (keyed.alice, -2)):
        assert person.post(f"/api/batches/{batch_id}/priority", json={"priority": priority}).status_code == 200
        for who in (keyed.alice, keyed.root):
            assert who.post(f"/api/batches/{batch_id}/jobs", json={"prompt": "x"}).status_code == 202
        places = keyed.context.batches.places(batch_id)[-2:]
        given = [keyed.context.jobs.get(each.job_id).priority for each in places]
        assert given == ([0, 5] if priority == 5 else [-2, -2])
    app.extensions["cyberimage"].context.close()


def test_past_its_deadline_a_batch_is_not_retried(client, batch, context, problem):
    batch_id = batch(max_seconds=60)
    with context.database.write() as connection:
        connection.exec_driver_sql("UPDATE batches SET created_at = created_at - 61")
    keep_up(context)
    assert status(client, batch_id)["stopped"] == "deadline"
    job_id = status(client, batch_id)["places"][0]["job_id"]
    for path, body in (
        (f"/api/batches/{batch_id}/retry-failed", {"cancelled": True}),
        (f"/api/batches/{batch_id}/jobs", {"prompt": "x"}),
        (f"/api/jobs/{job_id}/retry", None),
    ):
        told = problem(client.post(path, json=body), 409, "conflict")["detail"]
        assert told == "The deadline of the batch (max_seconds) has passed; submit a new batch."
    assert status(client, batch_id)["counts"]["CANCELLED"] == 4

"""Cleaning up on demand, and favourites, which stay."""

from __future__ import annotations

import logging

import pytest

from app import create_app


@pytest.fixture
def app(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, retention_max_images=1))
    yield app
    app.extensions["cyberimage"].close()


def test_clean_up_says_what_it_removed(client, submit, worker, problem):
    jobs = [submit() for _ in range(3)]
    images = [worker.finish()[0] for _ in jobs]
    foretold = client.post("/cleanup?dry_run=1").json
    assert (foretold["dry_run"], foretold["images"], foretold["jobs"]) == (True, 2, 2)
    assert client.get(f"/api/image/{images[0]}").status_code == 200
    report = client.post("/cleanup").json
    assert report == foretold | {"dry_run": False}
    assert report["freed_bytes"] > 0
    problem(client.get(f"/api/image/{images[0]}"), 410, "gone")
    problem(client.get(f"/api/status/{jobs[0]}"), 410, "gone")
    assert client.get(f"/api/image/{images[2]}").status_code == 200
    metrics = client.get("/metrics").text
    assert 'cyberimage_upkeep_removed_total{kind="image"} 2.0' in metrics
    assert f"cyberimage_upkeep_freed_bytes_total {float(report['freed_bytes'])}" in metrics


def test_a_dry_run_in_the_body_removes_nothing(client, submit, worker, problem):
    images = []
    for _ in range(3):
        submit()
        images += worker.finish()
    told = client.post("/cleanup", json={"dry_run": True}).json
    assert (told["dry_run"], told["images"]) == (True, 2)
    for wrong in ({"dryrun": True}, {"dry_run": "perhaps"}):
        problem(client.post("/cleanup", json=wrong), 400, "invalid_request")
    problem(client.post("/cleanup", data="{", content_type="application/json"), 400, "invalid_request")
    assert [client.get(f"/api/image/{image}").status_code for image in images] == [200, 200, 200]
    assert client.post("/cleanup", content_type="application/json").json["images"] == 2  # nothing was sent


def test_who_asked_for_a_clean_up_is_logged(client, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    with caplog.at_level(logging.INFO, "cyberimage.api"):
        client.post("/cleanup?dry_run=1")
    assert "Clean-up asked for by ip:127.0.0.1" in caplog.text
    assert "dry_run=True" in caplog.text


def test_a_favourite_stays(client, submit, worker):
    images = []
    for _ in range(3):
        submit()
        images += worker.finish()
    url = f"/api/image/{images[0]}/favorite"
    assert client.put(url).json == {"image_id": images[0], "favorite": True}
    assert client.get(f"/api/image/{images[0]}/metadata").json["favorite"] is True
    assert [item["favorite"] for item in client.get("/api/images").json["images"]] == [False, False, True]
    assert client.post("/cleanup").json["images"] == 2
    assert client.get(f"/api/image/{images[0]}").status_code == 200
    assert client.delete(url).json["favorite"] is False
    assert client.get(f"/api/image/{images[0]}").status_code == 200  # it was not the picture that was deleted


def test_only_one_clean_up_at_a_time(app, client, problem):
    with app.extensions["cyberimage"].cleaning:
        problem(client.post("/cleanup"), 409, "conflict")
    assert client.post("/cleanup").status_code == 200


def test_a_wrong_question_removes_nothing(client, submit, worker, problem):
    for _ in range(2):
        submit()
        worker.finish()
    for query in ("dry_run=perhaps", "dryrun=1"):
        problem(client.post(f"/cleanup?{query}"), 400, "invalid_request")
    assert client.get("/status").json["images"]["count"] == 2


def test_favourites_that_are_none(client, problem):
    for image_id in ("0" * 32, "x"):
        problem(client.put(f"/api/image/{image_id}/favorite"), 404, "image_not_found")

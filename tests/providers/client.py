"""Requests to the routes for remote models."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from tests.waiting import wait_until


def run(client: FlaskClient, model: str = "acme/painter", *, media: str = "image", **input: Any) -> str:
    answer = client.post(f"/api/run-{media}-model", json={"model": model, "input": input})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json["status_url"]
    return str(answer.json["job_id"])


def ended(client: FlaskClient, job_id: str) -> dict[str, Any]:
    path = (
        f"/api/images/{job_id}" if client.get(f"/api/images/{job_id}").status_code == 200 else f"/api/videos/{job_id}"
    )
    wait_until(lambda: client.get(path).json["status"] in ("COMPLETED", "FAILED", "CANCELLED"), f"{job_id} did not end")
    body: dict[str, Any] = client.get(path).json
    return body


def completed(client: FlaskClient, job_id: str) -> dict[str, Any]:
    body = ended(client, job_id)
    assert body["status"] == "COMPLETED", body["error"]
    return body

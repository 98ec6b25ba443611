"""A body with members is refused where no body is read: its sender expects it to have an effect."""

from __future__ import annotations

import pytest


@pytest.fixture
def job_id(submit) -> str:
    return submit()


@pytest.mark.parametrize("path", ["/api/jobs/{}/cancel", "/api/jobs/{}/retry"])
def test_members_are_refused_by_name_and_nothing_happens(client, problem, job_id, path) -> None:
    body = problem(client.post(path.format(job_id), json={"reason": "late"}), 400, "invalid_request")
    assert body["errors"] == [{"field": "reason", "message": "is not a known field: this route takes no body"}]
    assert client.get(f"/api/status/{job_id}").json["status"] == "PENDING"


@pytest.mark.parametrize("sent", [{}, {"json": {}}, {"data": "", "content_type": "application/json"}])
def test_an_empty_body_is_none(client, job_id, sent) -> None:
    assert client.post(f"/api/jobs/{job_id}/cancel", **sent).status_code == 200


def test_broken_json_is_refused_there_too(client, problem, job_id) -> None:
    sent = client.post(f"/api/jobs/{job_id}/cancel", data="{", content_type="application/json")
    problem(sent, 400, "invalid_request")

"""AUTH_MODE=huggingface by HTTP: each refusal with its status, and jobs under the user's name."""

from __future__ import annotations

import pytest

from app import create_app
from tests.services.auth.whoami_server import WhoamiServer, user


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    tokens = {"hf_alice": user("Alice"), "hf_root": user("root"), "hf_blind": user("blind", "fineGrained")}
    with WhoamiServer(tokens) as server:
        yield server


@pytest.fixture
def client(hub, settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="huggingface", hf_endpoint=f"{hub.url}/", auth_admins="root"))
    yield app.test_client()
    app.extensions["cyberimage"].close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_each_refusal(client, hub, problem):
    answer = client.get("/api/models", headers=bearer("hf_wrong"))
    problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="CyberImage", error="invalid_token"'
    problem(client.get("/api/models", headers=bearer("hf_blind")), 403, "forbidden")
    problem(client.post("/cleanup", headers=bearer("hf_alice")), 403, "forbidden")
    assert client.post("/cleanup", headers=bearer("hf_root")).status_code == 200
    hub.close()
    answer = client.get("/api/models", headers=bearer("hf_other"))
    problem(answer, 503, "auth_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/api/models", headers=bearer("hf_alice")).status_code == 200  # known
    assert client.get("/health", headers=bearer("hf_other")).status_code == 200


def test_a_user_has_jobs_of_their_own(client):
    made = client.post("/api/generate", json={"prompt": "x"}, headers=bearer("hf_alice"))
    job_id = made.json["job_id"]
    context = client.application.extensions["cyberimage"].context
    assert context.jobs.get(job_id).client_id == "hf:alice"
    assert client.get(f"/api/status/{job_id}", headers=bearer("hf_alice")).status_code == 200
    assert client.get(f"/api/status/{job_id}", headers=bearer("hf_root")).status_code == 200


def test_signing_in_with_the_page(client, hub):
    answer = client.post("/api/session", json={"token": "hf_alice"}, headers={"Origin": "http://localhost"})
    assert answer.json == {"mode": "huggingface", "signed_in": True, "name": "Alice", "role": "user"}
    assert "hf_alice" not in answer.headers["Set-Cookie"]
    assert client.get("/api/images").status_code == 200
    assert hub.asked == 1


def test_guessing_does_not_reach_the_hub_for_ever(client, hub, problem):
    for number in range(20):
        client.get("/api/models", headers=bearer(f"hf_{number}"))
    assert hub.asked == 20
    problem(client.get("/api/models", headers=bearer("hf_20")), 429, "rate_limited")
    assert hub.asked == 20

"""AUTH_MODE=keys with real processes: creating keys, ownership of images, revoking keys."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from app.config import ROOT
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e


@pytest.fixture
def service(new_service) -> Service:
    service = new_service(AUTH_MODE="keys", AUTH_FAILURES_PER_MINUTE="5")
    service.start()
    return service


def keys(service: Service, *arguments: str) -> str:
    """Run `cyberimage keys`; returns its output."""
    environment = {"PATH": os.environ["PATH"], **service.environment}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "keys", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def client(service: Service, token: str | None = None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=service.client.base_url, headers=headers, timeout=30)


def test_from_a_key_to_an_image_that_only_its_owner_sees(service: Service) -> None:
    tokens = {name: keys(service, "create", name) for name in ("alice", "bob")}
    tokens["root"] = keys(service, "create", "root", "--admin")
    anonymous, bob, root = (client(service, tokens.get(name)) for name in ("anonymous", "bob", "root"))
    refused = anonymous.get("/api/models")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="CyberImage"'
    assert anonymous.get("/readyz").status_code == 200

    service.client.headers["Authorization"] = f"Bearer {tokens['alice']}"
    job = service.completed(service.submit("a red boat", "tiny-flux", seed=1))
    image = job["images"][0]
    assert service.client.get(image["url"]).headers["content-type"] == "image/png"
    with service.client.stream("GET", f"/api/jobs/{job['job_id']}/events") as stream:
        assert "event: status" in stream.read().decode()
    paths = (image["url"], image["thumbnail_url"], f"/api/status/{job['job_id']}", f"/api/jobs/{job['job_id']}/events")
    assert [bob.get(path).status_code for path in paths] == [404] * 4
    assert [root.get(path).status_code for path in paths] == [200] * 4
    assert bob.delete(image["url"]).status_code == 404
    assert [len(who.get("/api/images").json()["images"]) for who in (service.client, bob, root)] == [1, 0, 1]
    assert [who.post("/cleanup").status_code for who in (anonymous, bob, root)] == [401, 403, 200]
    assert "cyberimage_auth_failures_total" in bob.get("/metrics").text

    page = client(service)
    here = {"Origin": str(service.client.base_url).rstrip("/")}
    assert page.post("/api/session", json={"token": tokens["alice"]}, headers=here).json()["name"] == "alice"
    assert page.get(image["thumbnail_url"]).status_code == 200
    assert (
        page.post("/api/generate", json={"prompt": "x"}, headers={"Origin": "https://evil.example"}).status_code == 403
    )

    assert "alice" in keys(service, "list")
    keys(service, "revoke", "1")
    assert service.client.get("/api/models").status_code == 401
    assert page.get(image["thumbnail_url"]).status_code == 401
    assert root.get(image["url"]).status_code == 200


def test_a_websocket_needs_a_key(service: Service) -> None:
    alice, bob = (keys(service, "create", name) for name in ("alice", "bob"))
    url = f"ws://127.0.0.1:{service.environment['PORT']}/stream/generate/txt2img"

    def converse(message: dict[str, str], **headers: str) -> dict[str, str]:
        heard = []
        with (
            connect(url, additional_headers=headers, max_size=None) as connection,
            contextlib.suppress(ConnectionClosed),
        ):
            connection.send(json.dumps(message))
            while True:
                heard.append(json.loads(connection.recv()))
        return heard[-1]

    made = converse({"prompt": "a boat"}, Authorization=f"Bearer {alice}")
    assert made["type"] == "result", made
    assert client(service, alice).get(f"/api/status/{made['job_id']}").json()["status"] == "COMPLETED"
    theirs = converse({"job_id": made["job_id"]}, Authorization=f"Bearer {bob}")
    assert (theirs["type"], theirs["code"]) == ("error", "job_not_found")
    page = client(service)
    here = {"Origin": str(service.client.base_url).rstrip("/")}
    page.post("/api/session", json={"token": alice}, headers=here)
    cookie = f"cyberimage_session={page.cookies['cyberimage_session']}"
    assert converse({"job_id": made["job_id"]}, Cookie=cookie, **here)["type"] == "result"
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer ci_x"}, 401),
        ({"Cookie": cookie, "Origin": "http://evil.example"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
            pass
        assert refused.value.response.status_code == status


def test_failed_logins_are_throttled(service: Service) -> None:
    token = keys(service, "create", "alice")
    alice = client(service, token)
    assert alice.get("/api/models").status_code == 200
    statuses = [client(service, f"ci_{number}").get("/api/models").status_code for number in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    assert alice.get("/api/models").status_code == 200
    said = (service.folder / "logs" / "app.log").read_text()
    assert "Refused a token from ip:127.0.0.1" in said
    assert token not in said
    assert "ci_3" not in said

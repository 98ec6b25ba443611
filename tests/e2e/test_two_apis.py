"""Two API processes on one database: a client may ask either, and go on at the other one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from app.config import ROOT
from tests.e2e.proxies.servers import Servers
from tests.processes import Processes
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MOST_GUESSES = 5


@dataclass
class Pair:
    servers: Servers
    environment: dict[str, str]
    settings: Path  # the ENV_FILE of both

    def client(self, index: int, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.servers.ports[index]}", headers=headers, timeout=60)

    def keys(self, *arguments: str) -> str:
        """Run `cyberimage keys`; returns its output."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", "keys", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    url = f"sqlite:///{tmp_path}/db.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    settings = tmp_path / "settings.env"
    settings.write_text("PROMPT_MAX_CHARS=100\n")
    environment = {
        "DATABASE_URL": url,
        "AUTH_MODE": "keys",
        "AUTH_FAILURES_PER_MINUTE": str(MOST_GUESSES),
        "ENV_FILE": str(settings),
        "PRELOAD": "none",
    }
    processes = Processes(tmp_path)
    try:
        yield Pair(Servers(processes, tmp_path, **environment), environment, settings)
    finally:
        processes.close()


def submit(client: httpx.Client, prompt: str) -> str:
    answer = client.post("/api/generate", json={"prompt": prompt})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def first_events(client: httpx.Client, job_id: str) -> list[ServerSentEvent]:
    """Until the job is being drawn; then the connection is dropped."""
    heard = []
    with connect_sse(client, "GET", f"/api/jobs/{job_id}/events") as source:
        for event in source.iter_sse():
            heard.append(event)
            if '"PROCESSING"' in event.data:
                return heard
    raise AssertionError("the stream ended")


def test_a_client_goes_on_at_the_other_one(pair: Pair) -> None:
    alice, admin = pair.keys("create", "alice"), pair.keys("create", "root", "--admin")
    here, there = pair.client(0, alice), pair.client(1, alice)

    # an event stream, in its middle
    job_id = submit(here, "until the gate opens")
    heard = first_events(here, job_id)
    resumed = {"Last-Event-ID": heard[-1].id}
    with connect_sse(there, "GET", f"/api/jobs/{job_id}/events", headers=resumed) as source:
        pair.servers.gate.touch()
        rest = list(source.iter_sse())
    seen, later = [int(event.id) for event in heard], [int(event.id) for event in rest if event.id]
    assert min(later) > max(seen), "nothing comes twice"
    assert json.loads(rest[-1].data)["status"] == "COMPLETED"
    ended = there.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": str(max(later))})
    assert ended.status_code == 204
    assert here.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": str(max(later))}).status_code == 204

    # the status and the picture, whichever is asked
    bodies = [client.get(f"/api/status/{job_id}").json() for client in (here, there)]
    assert bodies[0] == bodies[1]
    pictures = [client.get(bodies[0]["images"][0]["url"]).content for client in (here, there)]
    assert pictures[0] == pictures[1]

    # a session of one at the other
    browser = pair.client(0)
    assert browser.post("/api/session", json={"token": alice}).status_code == 200
    elsewhere = pair.client(1)
    elsewhere.cookies = browser.cookies
    assert elsewhere.get("/api/models").status_code == 200

    # an Idempotency-Key of one at the other
    asked = {"json": {"prompt": "a while"}, "headers": {"Idempotency-Key": "k"}}
    first, second = (client.post("/api/generate", **asked).json()["job_id"] for client in (here, there))  # type: ignore[arg-type]
    assert first == second

    # what one revokes the other refuses, a session too
    root = pair.client(0, admin)
    key_id = next(key["key_id"] for key in root.get("/api/keys").json()["keys"] if key["name"] == "alice")
    assert root.delete(f"/api/keys/{key_id}").is_success
    assert [client.get("/api/models").status_code for client in (here, there, browser, elsewhere)] == [401] * 4


def test_wrong_tokens_are_counted_together(pair: Pair) -> None:
    bob = pair.keys("create", "bob")
    statuses = [
        pair.client(number % 2, f"ci_{number}").get("/api/models").status_code for number in range(MOST_GUESSES)
    ]
    assert statuses == [401] * MOST_GUESSES
    for index in (0, 1):
        refused = pair.client(index, "ci_another").get("/api/models")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert pair.client(index, bob).get("/api/models").status_code == 429, "it may be the next guess"


def test_each_is_told_to_reload(pair: Pair) -> None:
    """A signal is of one machine: each process on each gets its own."""
    carol = pair.keys("create", "carol")
    clients = [pair.client(index, carol) for index in (0, 1)]

    def statuses() -> list[int]:
        return [client.post("/api/generate", json={"prompt": "x" * 150}).status_code for client in clients]

    assert statuses() == [400, 400]
    pair.settings.write_text("PROMPT_MAX_CHARS=200\n")
    pair.servers.signal(0, signal.SIGHUP)
    wait_until(lambda: statuses() == [202, 400], "the first did not hear of it")
    pair.servers.signal(1, signal.SIGHUP)
    wait_until(lambda: statuses() == [202, 202], "the second did not hear of it")

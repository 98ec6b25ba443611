"""The service worker and its page: public, told of their version, and removed where they are not wanted."""

from __future__ import annotations

import json
import re

import pytest

from app import __version__, create_app
from app.api.native.offline import files_version


@pytest.fixture
def client_with(settings_in, tmp_path):
    made = []

    def create(**settings):
        made.append(create_app(settings_in(tmp_path, **settings)))
        return made[-1].test_client()

    yield create
    for app in made:
        app.extensions["cyberimage"].close()


def told(text: str) -> dict[str, object]:
    """What the server writes before the script."""
    return {name: json.loads(value) for name, value in re.findall(r"^const (VERSION|ENABLED) = (.+);$", text, re.M)}


def test_the_service_worker_is_told_its_version(client):
    answer = client.get("/service-worker.js")
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert answer.headers["Cache-Control"] == "no-store"  # a new version is seen at the next visit
    assert told(answer.text) == {"VERSION": files_version(), "ENABLED": True}
    assert files_version().startswith(f"{__version__}-")


def test_it_is_told_when_it_is_not_wanted(client_with):
    client = client_with(service_worker=False)
    assert told(client.get("/service-worker.js").text)["ENABLED"] is False
    assert "data-service-worker" not in client.get("/", headers={"Accept": "text/html"}).text


def test_the_page_installs_it(client):
    assert "data-service-worker" in client.get("/", headers={"Accept": "text/html"}).text


def test_the_offline_page_has_all_languages_and_asks_for_nothing_private(client):
    answer = client.get("/offline")
    assert answer.mimetype == "text/html"
    assert answer.headers["Content-Security-Policy"]
    for sentence in ("CyberImage cannot be reached", "CyberImage ist nicht erreichbar"):
        assert sentence in answer.text
    assets = re.findall(r'(?:src|href)="([^"#]+)', answer.text)
    assert all(asset.startswith("/static/") for asset in assets)
    worker = client.get("/service-worker.js").text
    for asset in assets:
        assert client.get(asset).status_code == 200
        assert asset.rpartition("/")[2].removesuffix(".css") in worker  # it keeps what the page needs


def test_both_live_under_a_path(client_with):
    client = client_with(public_url="https://localhost/cyberimage")
    assert client.get("/cyberimage/service-worker.js").status_code == 200
    assert set(re.findall(r'(?:src|href)="(/[a-z]+)', client.get("/cyberimage/offline").text)) == {"/cyberimage"}


def test_nothing_is_shared_with_the_server(client):
    """The service worker takes it; without one there is nothing to send it to."""
    assert client.post("/share", data={"text": "a boat"}).status_code in (404, 405)

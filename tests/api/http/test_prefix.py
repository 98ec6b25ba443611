"""Served under a path, as https://host/cyberimage: every URL that goes out begins with it."""

from __future__ import annotations

import json
import re

import pytest

from app import create_app
from app.config import ROOT
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed

FORWARDED = {"X-Forwarded-Prefix": "/cyberimage"}
OWN_PATH = re.compile(r"""["'`(=]/(?:api|static|docs|openapi|status|metrics|livez|readyz|health|v1)\b""")


@pytest.fixture
def make(settings_in, tmp_path):
    made = []

    def create(**settings):
        made.append(create_app(settings_in(tmp_path, **settings)))
        return made[-1]

    yield create
    for app in made:
        app.extensions["cyberimage"].close()


@pytest.fixture(params=["stripped", "passed on", "forwarded"])
def proxied(request, make):
    """A way to ask through a proxy: with PUBLIC_URL the proxy may leave the path on or take it off, with the header it
    takes it off."""
    settings = (
        {"trusted_proxies": 1} if request.param == "forwarded" else {"public_url": "https://localhost/cyberimage"}
    )
    app = make(**settings)
    client = app.test_client()

    def ask(path, method="GET", **options):
        headers = {**(FORWARDED if request.param == "forwarded" else {}), **options.pop("headers", {})}
        inside = path if request.param == "passed on" else path.removeprefix("/cyberimage")
        return client.open(inside, method=method, headers=headers, **options)

    ask.app = app
    return ask


def links_of(text: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="(/[^"#]*)', text))


def test_every_url_carries_the_prefix(proxied):
    worker = Worker(proxied.app.extensions["cyberimage"].context)
    accepted = proxied("/cyberimage/api/generate", "POST", json={"prompt": "x"})
    job_id = accepted.json["job_id"]
    assert accepted.json["status_url"] == f"/cyberimage/api/status/{job_id}"
    assert accepted.json["events_url"] == f"/cyberimage/api/jobs/{job_id}/events"
    assert accepted.headers["Location"] == accepted.json["status_url"]
    (image_id,) = worker.finish()
    status = proxied(accepted.json["status_url"]).json
    image = f"/cyberimage/api/image/{image_id}"
    told = (
        status["images"][0],
        proxied("/cyberimage/api/images").json["images"][0],
        proxied(f"{image}/metadata").json,
        json.loads(re.search(r"data: (\{.*)", proxied(accepted.json["events_url"]).text)[1])["images"][0],
    )
    for ref in told:
        assert [ref[name] for name in ("url", "thumbnail_url", "metadata_url")] == [
            image, f"{image}/thumbnail", f"{image}/metadata"
        ]  # fmt: skip
        assert proxied(ref["thumbnail_url"]).status_code == 200
    assert proxied("/cyberimage/api/nothing").json["type"] == "/cyberimage/docs#not_found"
    assert set(proxied("/cyberimage/").json["links"].values()) > {"/cyberimage/docs", "/cyberimage/api/models"}
    assert proxied("/cyberimage/openapi.json").json["servers"] == [{"url": "/cyberimage"}]
    moved = proxied("/cyberimage/api//models")
    assert moved.status_code == 308
    assert moved.headers["Location"].endswith("/cyberimage/api/models")


@pytest.mark.parametrize("path", ["/cyberimage/", "/cyberimage/docs"])
def test_pages_ask_for_nothing_outside(proxied, path):
    page = proxied(path, headers={"Accept": "text/html"})
    links = links_of(page.text)
    assert links
    for link in links:
        assert link.startswith("/cyberimage/")
        assert proxied(link).status_code == 200, link


def test_the_cookie_is_for_the_path(make):
    keyed = Keyed(make(auth_mode="keys", trusted_proxies=1))
    body = {"token": keyed.tokens["alice"]}
    headers = {"Origin": "http://localhost", **FORWARDED}
    assert "Path=/cyberimage/;" in keyed.nobody.post("/api/session", json=body, headers=headers).headers["Set-Cookie"]
    assert "Path=/cyberimage/" in keyed.nobody.delete("/api/session", headers=headers).headers["Set-Cookie"]
    assert (
        "Path=/;"
        in keyed.nobody.post("/api/session", json=body, headers={"Origin": "http://localhost"}).headers["Set-Cookie"]
    )


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a//b", "https://evil.example", '/"><script>', "/a b", "/../x", "cyberimage", "/", ""]
)
def test_a_prefix_that_is_none_is_not_used(make, prefix):
    client = make(trusted_proxies=1).test_client()
    page = client.get("/", headers={"X-Forwarded-Prefix": prefix, "Accept": "text/html"})
    assert all(link.startswith(("/static/", "/docs", "/api/")) for link in links_of(page.text))


def test_a_prefix_of_nobody_trusted_is_not_used(make):
    client = make().test_client()
    answer = client.post("/api/generate", json={"prompt": "x"}, headers=FORWARDED)
    assert answer.json["status_url"].startswith("/api/status/")


def test_two_ways_in_do_not_mix(make):
    """The same job, asked for in turn through the proxy and past it."""
    app = make(trusted_proxies=1)
    client, worker = app.test_client(), Worker(app.extensions["cyberimage"].context)
    job_id = client.post("/api/generate", json={"prompt": "x"}).json["job_id"]
    worker.finish()
    for _ in range(2):
        assert client.get(f"/api/status/{job_id}").json["images"][0]["url"].startswith("/api/image/")
        status = client.get(f"/api/status/{job_id}", headers=FORWARDED).json
        assert status["images"][0]["url"].startswith("/cyberimage/api/image/")


def test_without_a_prefix_nothing_changes(client, submit):
    assert client.get(f"/cyberimage/api/status/{submit()}").status_code == 404
    assert client.get("/openapi.json").json["servers"] == [{"url": "/"}]
    assert client.get("/api/nothing").json["type"] == "/docs#not_found"


def test_no_script_or_style_begins_a_url_on_its_own():
    for path in [*(ROOT / "app/static").rglob("*.js"), *(ROOT / "app/static").rglob("*.css")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not OWN_PATH.search(line) or "only shown" in line, f"{path.name}:{number}: {line.strip()}"
    for path in (ROOT / "app/templates").glob("*.html"):
        for address in re.findall(r'(?:src|href|action)="([^"#][^"]*)', path.read_text()):
            assert address.startswith(("{{ root }}/", "data:")), (path.name, address)

"""Behind nginx at https://host/cyberimage/: page, images, events, sign-in, documentation and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from app.config import ROOT
from tests.browser.proxy import LOCATION, PASSED_ON, PATH, Proxy
from tests.nginx import find_nginx

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.harness import Harness

pytestmark = pytest.mark.skipif(find_nginx() is None, reason="TESTS UNDER A PATH SKIPPED: nginx is not installed")


@pytest.fixture(params=["taken off", "passed on"])
def way(request) -> str:
    return request.param


@pytest.fixture
def harness(new_harness, tmp_path: Path, way: str) -> Iterator[tuple[Harness, Proxy]]:
    settings = {"TRUSTED_PROXIES": "1"} if way == "taken off" else {"PUBLIC_URL": f"http://127.0.0.1{PATH}/"}
    harness = new_harness(AUTH_MODE="keys", **settings)
    harness.open()
    proxy = Proxy(tmp_path / "nginx", harness.port, LOCATION if way == "taken off" else PASSED_ON)
    yield harness, proxy
    proxy.close()


def new_key(harness: Harness) -> str:
    done = harness._processes.start("-m", "app.cli", "keys", "create", "alice", **harness.environment)
    assert done.wait(60) == 0
    return next(word for word in harness._processes.said().split() if word.startswith("ci_"))


@pytest.fixture
def page(browser) -> Iterator[Page]:
    expect.set_options(timeout=30_000)
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    yield context.new_page()
    context.close()


def test_the_page_under_a_path(harness, page: Page) -> None:
    harness, proxy = harness
    token = new_key(harness)
    strayed: list[str] = []
    ours = (f"{proxy.url}/", "data:", "blob:")
    page.on("request", lambda asked: asked.url.startswith(ours) or strayed.append(asked.url))
    page.goto(f"{proxy.url}/")
    expect(page.locator("#sign-in")).to_be_visible()
    page.fill("#token", token)
    page.locator("#sign-in").get_by_role("button", name="Sign in").click()
    expect(page.locator("#account")).to_contain_text("alice")
    expect(page.locator("#model option").first).to_be_attached()
    (cookie,) = page.context.cookies()
    assert cookie["path"] == f"{PATH}/"

    with page.expect_request(lambda asked: asked.url.endswith("/events")) as streamed:
        page.fill("#prompt", "a red boat on a calm sea")
        page.get_by_role("button", name="Generate").click()
    assert streamed.value.url.startswith(f"{proxy.url}/api/jobs/")

    page.goto(f"{proxy.url}/#/gallery")
    tile = page.locator('[data-view="gallery"] a.tile img').first
    expect(tile).to_be_visible()
    assert tile.get_attribute("src").startswith(f"{PATH}/api/image/")
    page.wait_for_function('() => document.querySelector("[data-view=gallery] a.tile img").naturalWidth > 0')

    page.goto(f"{proxy.url}/#/status")
    expect(page.locator(f'a[href="{PATH}/docs"]')).to_be_visible()
    page.goto(f"{proxy.url}/docs")
    expect(page.get_by_role("heading", level=1)).to_contain_text("CyberImage")
    assert page.evaluate("document.styleSheets.length") == 1
    assert strayed == []


def test_api_clients_under_a_path(harness) -> None:
    harness, proxy = harness
    known = {"Authorization": f"Bearer {new_key(harness)}"}
    with httpx.Client(base_url=proxy.origin, headers=known, timeout=60) as client:
        job = client.post(f"{PATH}/api/generate", json={"prompt": "a boat"}).json()
        with client.stream("GET", job["events_url"]) as events:
            assert any("COMPLETED" in line for line in events.iter_lines())
        image = client.get(job["status_url"]).json()["images"][0]
        assert client.get(image["url"]).headers["Content-Type"] == "image/png"
        assert client.get(f"{PATH}/openapi.json").json()["servers"] == [{"url": PATH}]
        assert client.get("/api/models").status_code == 404  # nginx's own
    address = f"{proxy.url}/v1/stream/generate/txt2img".replace("http", "ws", 1)
    with connect(address, additional_headers=known, open_timeout=60) as stream:
        stream.send(json.dumps({"prompt": "a boat"}))
        while (message := json.loads(stream.recv(60)))["type"] == "progress":
            pass
    assert message["type"] == "result"
    assert message["outputs"][0]["url"].startswith(f"{PATH}/api/image/")


def test_the_documentation_has_this_nginx_block() -> None:
    assert LOCATION in (ROOT / "docs" / "DEPLOYMENT.md").read_text()

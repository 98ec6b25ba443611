"""The service worker: an offline page, copies of static files and nothing else, and what is shared with the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.gallery_pages import a_word, made
from tests.browser.harness import Harness
from tests.browser.proxy import LOCATION, PATH, Proxy
from tests.browser.test_quality import go
from tests.browser.test_under_a_path import new_key
from tests.nginx import find_nginx

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHARE = """async fields => {
  const draw = () => new Promise(resolve => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
    canvas.getContext("2d").fillRect(0, 0, 32, 32);
    canvas.toBlob(resolve, "image/png");
  });
  const form = document.createElement("form");
  Object.assign(form, { method: "post", enctype: "multipart/form-data", action: "share", hidden: true });
  for (const [name, value] of Object.entries(fields)) {
    const input = Object.assign(document.createElement("input"), { name, type: name === "picture" ? "file" : "text" });
    form.append(input);
    if (name !== "picture") {
      input.value = value;
      continue;
    }
    const transfer = new DataTransfer();
    transfer.items.add(new File([await draw()], value, { type: "image/png" }));
    input.files = transfer.files;
  }
  document.body.append(form);
  form.submit();
}"""
KEPT = """async () => {
  const found = {};
  for (const name of await caches.keys()) {
    const requests = await (await caches.open(name)).keys();
    found[name] = requests.map(({ url }) => new URL(url).pathname);
  }
  return found;
}"""


@pytest.fixture
def harness(new_harness: Callable[..., Harness]) -> Harness:
    return new_harness(SERVICE_WORKER="on").open()


@pytest.fixture
def page(new_page: Callable[..., Page], harness: Harness) -> Page:
    page = new_page(harness.url, forgive=True)  # a page whose server goes complains
    controlled(page)
    return page


def controlled(page: Page) -> None:
    page.evaluate("navigator.serviceWorker.ready")
    page.wait_for_function("navigator.serviceWorker.controller?.state === 'activated'")


def test_the_offline_page_is_shown_and_goes_by_itself(page: Page, harness: Harness) -> None:
    page.locator("#prompt").fill("a boat that waits")
    harness.kill_api()
    page.reload()
    expect(page.locator("main.offline:visible h1")).to_have_text("CyberImage cannot be reached")
    harness.start_api()
    expect(page.locator("#prompt")).to_have_value("a boat that waits")
    expect(page.locator("#model option").first).to_be_attached()


def test_it_speaks_the_chosen_language(page: Page, harness: Harness) -> None:
    page.context.add_cookies([{"name": "language", "value": "de", "url": harness.url}])
    harness.kill_api()
    page.reload()
    expect(page.locator("main.offline:visible h1")).to_have_text("CyberImage ist nicht erreichbar")
    expect(page.locator("html")).to_have_attribute("lang", "de")


def test_a_view_that_is_first_opened_during_an_outage_comes_from_the_copies(page: Page, harness: Harness) -> None:
    go(page, "queue")
    page.reload()
    expect(page.locator("#queue-title")).to_be_visible()
    page.goto(f"{harness.url}/#/")
    page.reload()
    expect(page.locator("#model option").first).to_be_attached()
    harness.kill_api()
    go(page, "queue")
    expect(page.locator("#queue-title")).to_have_text("Queue")


def test_nothing_private_is_kept(page: Page, harness: Harness) -> None:
    made(harness, a_word(), 2)
    for view in ("gallery", "queue", "models", "status"):
        go(page, view)
    go(page, "gallery")
    page.locator(".grid a.tile").first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    page.reload()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    ((name, paths),) = page.evaluate(KEPT).items()
    assert name.startswith("cyberimage / ")
    assert "/static/js/gallery.js" in paths
    assert [path for path in paths if not path.startswith("/static/") and path != "/offline"] == []


def test_a_new_version_replaces_the_copies(page: Page, harness: Harness) -> None:
    """Those of other programs of this host, and of another CyberImage under another path, stay."""
    others = ["cyberimage /elsewhere/ 1", "somebody else's"]
    page.evaluate(
        "async names => { for (const name of names) await caches.open(name); }", ["cyberimage / 0.0.1-old", *others]
    )
    page.evaluate("navigator.serviceWorker.getRegistration().then(found => found.unregister())")
    page.reload()
    controlled(page)
    page.wait_for_function("caches.keys().then(names => !names.includes('cyberimage / 0.0.1-old'))")
    assert set(others) < set(page.evaluate("caches.keys()"))


def test_it_goes_when_the_server_does_not_want_it(page: Page, harness: Harness) -> None:
    harness.kill_api()
    harness.environment["SERVICE_WORKER"] = "off"
    harness.start_api()
    page.reload()
    expect(page.locator("#model option").first).to_be_attached()
    page.wait_for_function("navigator.serviceWorker.getRegistrations().then(found => found.length === 0)")
    page.wait_for_function("caches.keys().then(names => names.length === 0)")


def share(page: Page, **fields: str) -> None:
    """As the system does for an installed page: a form that is sent to the address in the manifest."""
    with page.expect_navigation():
        page.evaluate(SHARE, fields)


def test_shared_words_become_the_prompt(page: Page, harness: Harness) -> None:
    share(page, title="A lighthouse", text="in the fog", url="")
    expect(page.locator("#prompt")).to_have_value("A lighthouse\nin the fog")
    assert page.evaluate("location.hash") == "#/"
    assert harness.call("/api/queue")["counts"]["PENDING"] == 0  # nothing is sent by itself


def test_a_prompt_that_is_there_is_replaced_only_when_asked(page: Page) -> None:
    """Any page can send such a form."""
    page.locator("#prompt").fill("what was there")
    share(page, title="", text="in the fog", url="")
    expect(page.locator(".toast")).to_contain_text("Text was shared")
    expect(page.locator("#prompt")).to_have_value("what was there")
    page.locator(".toast").get_by_role("button", name="Use it").click()
    expect(page.locator("#prompt")).to_have_value("in the fog")


def test_a_shared_picture_becomes_the_start_picture(page: Page) -> None:
    share(page, picture="holiday.png")
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#start-picture")).to_have_attribute("alt", "holiday.png")
    page.reload()
    expect(page.locator("#model option").first).to_be_attached()
    expect(page.locator(".toast")).to_have_count(0)  # it is taken once


def test_what_does_not_arrive_is_told(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/?shared")
    page.reload()
    expect(page.locator(".toast")).to_contain_text("did not arrive")


def test_the_manifest_names_the_address(harness: Harness) -> None:
    target = harness.call("/static/manifest.json")["share_target"]
    assert (target["action"], target["method"]) == ("../share", "POST")
    assert json.dumps(target["params"]["files"]) == '[{"name": "picture", "accept": ["image/*"]}]'


@pytest.fixture
def proxied(new_harness: Callable[..., Harness], tmp_path: Path) -> Iterator[tuple[Harness, Proxy]]:
    if find_nginx() is None:
        pytest.skip("TESTS UNDER A PATH SKIPPED: nginx is not installed")
    harness = new_harness(SERVICE_WORKER="on", AUTH_MODE="keys", TRUSTED_PROXIES="1").open()
    proxy = Proxy(tmp_path / "nginx", harness.port, LOCATION)
    yield harness, proxy
    proxy.close()


def test_under_a_path_and_signed_in(browser: Browser, proxied: tuple[Harness, Proxy]) -> None:
    """The proxy answers 502 for a server that is away."""
    harness, proxy = proxied
    token = new_key(harness)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{proxy.url}/")
    page.fill("#token", token)
    page.locator("#sign-in").get_by_role("button", name="Sign in").click()
    expect(page.locator("#account")).to_contain_text("alice")
    controlled(page)
    assert page.evaluate("navigator.serviceWorker.controller.scriptURL") == f"{proxy.url}/service-worker.js"
    page.reload()
    expect(page.locator("#account")).to_contain_text("alice")
    kept = page.evaluate(KEPT)
    assert all(name.startswith(f"cyberimage {PATH}/ ") for name in kept)
    assert {path.split("/")[2] for paths in kept.values() for path in paths} == {"static", "offline"}
    harness.kill_api()
    page.reload()
    expect(page.locator("main.offline:visible h1")).to_be_visible()
    harness.start_api()
    expect(page.locator("#account")).to_contain_text("alice")
    context.close()

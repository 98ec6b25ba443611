"""Sign-in on the page: prompted by a 401, keeps the form's input, and shows the user's own images only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.config import load_settings
from app.core.access import Role
from app.services.auth.api_keys import create_key
from app.services.context import AppContext, open_context
from app.store.ops.api_keys import ApiKeyStore
from tests.browser.harness import Harness
from tests.browser.test_quality import violations


class Guarded:
    """A server with AUTH_MODE=keys, and the keys of two users."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        places = {
            "database_url": harness.environment["DATABASE_URL"],
            "images_dir": Path(harness.environment["IMAGES_DIR"]),
        }
        self.context: AppContext = open_context(load_settings({}, None, **places))
        self.tokens = {name: create_key(self.context, name, Role.USER)[1] for name in ("alice", "bob")}
        self.tokens["root"] = create_key(self.context, "root", Role.ADMIN)[1]

    def call(self, name: str, path: str, **request):
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        return httpx.request(request.pop("method", "GET"), self.harness.url + path, headers=headers, **request)


@pytest.fixture
def guarded(new_harness: Callable[..., Harness]) -> Iterator[Guarded]:
    harness = new_harness(AUTH_MODE="keys")
    harness.start_api()
    harness.start_worker()
    found = Guarded(harness)
    httpx_ready(harness)
    yield found
    found.context.close()


def httpx_ready(harness: Harness) -> None:
    from tests.waiting import wait_until

    def ready() -> bool:
        try:
            return httpx.get(f"{harness.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready, "the server did not start")


@pytest.fixture
def new_guest(browser, guarded: Guarded) -> Iterator[Callable[..., Page]]:
    """Opens the page in a fresh profile. 401s are complaints in the console; errors of the page are not forgiven."""
    expect.set_options(timeout=30_000)
    contexts, errors = [], []

    def make(**options) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(guarded.harness.url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert errors == []


def sign_in(page: Page, token: str) -> None:
    expect(page.locator("#sign-in")).to_be_visible()
    page.fill("#token", token)
    page.keyboard.press("Enter")


def test_the_page_prompts_for_a_sign_in(new_guest: Callable[..., Page], guarded: Guarded):
    page = new_guest()
    expect(page.locator("#sign-in")).to_be_visible()
    expect(page.locator("#token")).to_be_focused()
    sign_in(page, "ci_wrong")
    expect(page.locator("#sign-in-error")).to_contain_text("unknown or was revoked")
    sign_in(page, guarded.tokens["alice"])
    expect(page.locator("#sign-in")).to_be_hidden()
    expect(page.locator("#account")).to_contain_text("alice")
    expect(page.locator("#model")).to_have_value("painter")  # the call that waited was made again
    page.fill("#prompt", "a red boat")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()  # by cookie: the stream and the picture
    page.evaluate("location.hash = '#/gallery'")
    expect(page.locator(".grid img, .grid li").first).to_be_visible()
    assert guarded.call("alice", "/api/images").json()["images"][0]["prompt"] == "a red boat"
    assert guarded.call("bob", "/api/images").json()["images"] == []
    assert page.evaluate("document.cookie") == ""
    assert guarded.tokens["alice"] not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")


def test_nothing_typed_is_lost_when_a_session_ends(new_guest: Callable[..., Page], guarded: Guarded):
    page = new_guest()
    sign_in(page, guarded.tokens["alice"])
    expect(page.locator("#account")).to_contain_text("alice")
    expect(page.locator("#model")).to_have_value("painter")
    page.fill("#prompt", "a long and winding prompt")
    page.locator("#steps").fill("9")
    ApiKeyStore(guarded.context.database).revoke(1)
    expect(page.locator("#sign-in")).to_be_visible()
    sign_in(page, guarded.tokens["bob"])
    expect(page.locator("#account")).to_contain_text("bob")
    expect(page.locator("#prompt")).to_have_value("a long and winding prompt")
    expect(page.locator("#steps")).to_have_value("9")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    assert len(guarded.call("bob", "/api/images").json()["images"]) == 1


def test_the_sign_in_can_be_declined(new_guest: Callable[..., Page], guarded: Guarded, axe: str):
    page = new_guest()
    expect(page.locator("#sign-in")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#sign-in")).to_be_hidden()
    expect(page.locator("#banner")).to_contain_text("not signed in")
    expect(page.locator("#job-panel h2")).to_have_text("Sign in to make pictures")
    for unusable in (".composer .settings", ".composer .prompt-foot", "#latest"):  # no empty fields, which look broken
        expect(page.locator(unusable)).to_be_hidden()
    assert violations(page, axe) == []
    page.fill("#prompt", "patience")
    page.wait_for_timeout(4000)  # further status polls do not prompt again
    expect(page.locator("#sign-in")).to_be_hidden()
    page.locator("#account").click()
    sign_in(page, guarded.tokens["bob"])
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".composer .settings")).to_be_visible()
    expect(page.locator("#model")).to_have_value("painter")
    expect(page.locator("#prompt")).to_have_value("patience")


def test_signing_out_removes_all_data(new_guest: Callable[..., Page], guarded: Guarded):
    page = new_guest()
    sign_in(page, guarded.tokens["alice"])
    expect(page.locator("#model")).to_have_value("painter")
    page.fill("#prompt", "my secret plan")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    page.fill("#prompt", "another secret")  # the form is saved a moment later, after the sign-out has removed it
    page.locator("#account").click()
    sign_in(page, guarded.tokens["bob"])
    expect(page.locator("#account")).to_contain_text("bob")
    expect(page.locator("#prompt")).to_have_value("")
    assert "secret" not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert "secret" not in page.content()
    expect(page.locator("#latest-tiles li")).to_have_count(0)


def test_an_administrator_gives_out_a_key_and_takes_it_back(new_guest: Callable[..., Page], guarded: Guarded):
    page = new_guest()
    sign_in(page, guarded.tokens["root"])
    page.get_by_role("link", name="Keys").click()
    expect(page.locator('[data-view="keys"] .row')).to_have_count(3)
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#key-error")).to_contain_text("Give the key a name")
    page.fill("#key-name", "carol")
    page.fill("#key-limit", "often")
    page.keyboard.press("Enter")
    expect(page.locator("#key-error")).to_be_visible()
    page.fill("#key-limit", "5 per minute")
    page.keyboard.press("Enter")
    token = page.get_by_label("Key of carol", exact=True).input_value()
    guarded.tokens["carol"] = token
    assert guarded.call("carol", "/api/queue").status_code == 200
    row = page.locator('[data-view="keys"] .row', has_text="carol")
    expect(row).to_contain_text("images: 5 per minute")
    page.evaluate("location.hash = '#/'")
    page.evaluate("location.hash = '#/keys'")
    expect(row).to_contain_text("used")
    assert token not in page.content()  # it was shown once
    page.get_by_role("button", name="Revoke the key of carol").click()
    page.locator(".toast-action").click()
    expect(page.get_by_text("Revoked keys")).to_be_visible()
    assert guarded.call("carol", "/api/queue").status_code == 401


def test_users_are_not_shown_the_keys(new_guest: Callable[..., Page], guarded: Guarded):
    page = new_guest()
    sign_in(page, guarded.tokens["alice"])
    expect(page.locator("#account")).to_contain_text("alice")
    expect(page.locator('.tabs [data-view="keys"]')).to_be_hidden()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_keys_on_desk_and_phone(
    new_guest: Callable[..., Page], guarded: Guarded, axe: str, tmp_path: Path, theme: str
):
    for name, viewport in (("desk", {"width": 1280, "height": 860}), ("phone", {"width": 390, "height": 780})):
        page = new_guest(viewport=viewport, reduced_motion="reduce")
        page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        sign_in(page, guarded.tokens["root"])
        page.get_by_role("link", name="Keys").click()
        page.fill("#key-name", "carol")
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_label("Key of carol", exact=True)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page, axe) == []
        page.screenshot(path=tmp_path / f"keys-{theme}-{name}.png")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_accessibility_and_layout(new_guest: Callable[..., Page], axe: str, tmp_path: Path, theme: str):
    """Contrast, labels and size; screenshots are kept for manual review."""
    for name, viewport in (("desk", {"width": 1280, "height": 860}), ("phone", {"width": 390, "height": 780})):
        page = new_guest(viewport=viewport, reduced_motion="reduce")
        page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
        expect(page.locator("#sign-in")).to_be_visible()
        box = page.locator("#sign-in").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        expect(page.locator("#account")).to_have_text("Sign in")
        assert page.locator("#theme").evaluate("node => node.getBoundingClientRect().right <= innerWidth")
        page.wait_for_timeout(400)
        page.fill("#token", "ci_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#sign-in-error")).to_be_visible()
        assert violations(page, axe) == []
        page.screenshot(path=tmp_path / f"sign-in-{theme}-{name}.png")


def test_only_an_administrator_loads_models(new_guest: Callable[..., Page], guarded: Guarded):
    for name, buttons in (("alice", 0), ("root", 1)):
        page = new_guest()
        sign_in(page, guarded.tokens[name])
        page.get_by_role("link", name="Models").click()
        card = page.locator(".model-card[data-id=fixed]")
        expect(card.get_by_role("button", name="Use: ")).to_be_visible()
        expect(card.get_by_role("button", name="Load: ")).to_have_count(buttons)

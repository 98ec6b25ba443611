"""The page as an application: its keys, its manifest, its notifications, and several windows that show the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import Harness
from tests.browser.test_quality import violations

NOTIFICATIONS = """() => {
  window.said = [];
  window.Notification = class {
    static permission = "default";
    static requestPermission = async () => (Notification.permission = "granted");
    constructor(title, options) { window.said.push([title, options.body, options.tag]); }
    close() {}
  };
}"""


def test_a_question_mark_lists_all_keys(page: Page):
    page.locator("#generate").focus()
    page.keyboard.press("?")
    dialog = page.locator("#help-dialog")
    expect(dialog).to_be_visible()
    for key in ("Ctrl ↵", "Ctrl K", "Space", "F", "Del", "Ctrl Z"):
        expect(dialog.locator("kbd", has_text=re.compile(f"^{re.escape(key)}$")).first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#generate")).to_be_focused()
    page.locator("#prompt").focus()
    page.keyboard.type("why?")
    expect(page.locator("#prompt")).to_have_value("why?")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Help and settings").click()
    expect(dialog).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_dialog_is_accessible(new_page: Callable[..., Page], harness: Harness, axe: str, theme: str):
    page = new_page(harness.url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.get_by_role("button", name="Help and settings").click()
    expect(page.locator("#help-dialog")).to_be_visible()
    assert violations(page, axe) == []


def test_the_page_can_be_installed(page: Page, harness: Harness):
    session = page.context.new_cdp_session(page)
    found: dict[str, Any] = session.send("Page.getAppManifest")
    assert found["errors"] == []
    manifest = json.loads(found["data"])
    assert (manifest["display"], manifest["name"]) == ("standalone", "CyberImage")
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in errors if each["errorId"] != "in-incognito"] == []
    for icon in manifest["icons"]:
        answer = httpx.get(f"{harness.url}/static/{icon['src']}")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, icon["type"])
        assert len(answer.content) < 15_000


def test_a_hidden_page_notifies_who_asked_for_it(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url)
    page.evaluate(NOTIFICATIONS)
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away ?? false, configurable: true })")
    page.fill("#prompt", "slow nothing is said of it")
    page.locator("#steps").fill("4")
    page.keyboard.press("?")  # in the prompt it is a letter
    page.get_by_role("button", name="Help and settings").click()
    page.get_by_label("Tell me when").check()
    expect(page.locator("#notify-note")).to_contain_text("in this browser only")
    page.keyboard.press("Escape")
    page.fill("#prompt", "seen by its user")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    assert page.evaluate("window.said") == []
    page.evaluate("window.away = true")
    job_id = harness.call("/api/images?limit=1")["images"][0]["job_id"]
    page.fill("#prompt", "made meanwhile")
    page.locator("#generate").click()
    expect(page.locator("#announcer")).to_contain_text("Finished: made meanwhile")
    [[title, body, tag]] = page.evaluate("window.said")
    assert (title, body) == ("Finished", "made meanwhile")
    assert tag != job_id


def test_nobody_is_notified_without_asking(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url)
    page.evaluate(NOTIFICATIONS)
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    page.fill("#prompt", "made meanwhile")
    page.locator("#steps").fill("4")
    page.locator("#generate").click()
    expect(page.locator("#announcer")).to_contain_text("Finished")
    assert page.evaluate("window.said") == []


def test_windows_of_one_browser_show_the_same(page: Page, harness: Harness):
    other = page.context.new_page()
    other.goto(harness.url)
    expect(other.locator("#model option").first).to_be_attached()
    page.fill("#prompt", "seen in both windows")
    page.locator("#steps").fill("4")
    page.locator("#count label", has_text="2").click()
    page.locator("#generate").click()
    for window in (page, other):
        expect(window.locator("#job-panel .picture img.there")).to_have_count(2)
    first = page.locator("#job-panel .cell").first
    first.get_by_role("button", name="Favourite").click()
    expect(other.locator("#job-panel .cell .heart").first).to_have_attribute("aria-pressed", "true")
    first.get_by_role("button", name="Delete").click()
    expect(other.locator("#job-panel .picture")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(other.locator("#job-panel .picture")).to_have_count(2)
    other.locator("#job-panel").get_by_role("button", name="Delete all").click()
    expect(page.locator("#job-panel .picture")).to_have_count(0)


def test_a_retry_in_one_window_is_seen_in_the_other(page: Page, harness: Harness):
    other = page.context.new_page()
    other.goto(harness.url)
    expect(other.locator("#model option").first).to_be_attached()
    page.fill("#prompt", "a windmill that mends in two windows")
    page.locator("#steps").fill("4")
    page.locator("#generate").click()
    for window in (page, other):
        expect(window.locator("#job-panel .sentence")).to_contain_text("The paint ran out")
    page.get_by_role("button", name="Retry").click()
    for window in (page, other):
        expect(window.locator("#job-panel .picture img.there")).to_be_visible()

"""Server faults: restart after a kill, no worker, an unknown job."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.harness import Harness


def test_the_server_is_killed_and_restarted_in_the_middle(
    new_page: Callable[..., Page], new_harness: Callable[..., Harness]
):
    harness = new_harness().open()
    page = new_page(harness.url, forgive=True)
    page.fill("#prompt", "slow storm")
    page.locator("#steps").fill("10")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    harness.kill_api()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    expect(page.locator("#server-status")).to_have_attribute("data-state", "offline")
    page.fill("#prompt", "written while it was away")
    harness.start_api()
    page.keyboard.press("Control+Enter")  # waits for the server, and counts once
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".strip-item[data-status=COMPLETED]")).to_have_count(2, timeout=60_000)
    expect(page.locator("#prompt")).to_have_value("written while it was away")
    counts = harness.call("/api/queue")["counts"]
    assert counts["COMPLETED"] == 2, counts
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1  # without a reload


def test_no_worker_and_then_one_starts(new_page: Callable[..., Page], new_harness: Callable[..., Harness]):
    harness = new_harness().open(worker=None)
    page = new_page(harness.url)
    expect(page.locator("#banner")).to_contain_text("No worker is running")
    page.fill("#prompt", "patience")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .status-text")).to_have_text("Next in line")
    page.evaluate("location.hash = '#/queue'")
    expect(page.locator(".row[data-status=PENDING] .reason")).to_have_text("waits longest")
    expect(page.locator("[aria-label=Workers] .none")).to_contain_text("No worker is running")
    harness.start_worker()
    expect(page.locator("#banner")).to_be_hidden(timeout=30_000)
    expect(page.locator(".worker")).to_contain_text("painter")
    page.evaluate("location.hash = '#/'")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_polling_replaces_broken_streams(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url, forgive=True)
    page.route("**/events", lambda route: route.fulfill(status=503))
    page.locator("#steps").fill("4")
    page.fill("#prompt", "slow lake")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_an_unknown_job_is_removed_from_the_page(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url, forgive=True)
    page.evaluate("id => localStorage.setItem('jobs', JSON.stringify([{ id, at: Date.now() }]))", "0" * 32)
    page.reload()
    expect(page.locator("#job-panel .job-panel.empty")).to_be_visible()

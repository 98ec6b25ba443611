"""The queue and status views."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.harness import Harness


def test_the_queue_lists_running_and_waiting_jobs_and_cancels(page: Page, harness: Harness):
    harness.made("what loads the model")
    first = harness.submit("slow first", num_inference_steps=40)
    others = [harness.submit(f"waiting {n}", num_images=n) for n in (1, 2)]
    urgent = harness.call("/api/generate", {"prompt": "urgent one", "model_id": "painter", "priority": 5})["job_id"]
    page.evaluate("location.hash = '#/queue'")
    running = page.locator(f".row[data-id='{first}']")
    expect(running.locator(".status-text")).to_contain_text("Step")
    expect(running.locator("progress")).to_be_visible()
    waiting = page.locator("[aria-label=Waiting] .row")
    expect(waiting).to_have_count(3)
    expect(waiting.first.locator(".row-prompt")).to_have_text("urgent one")
    expect(waiting.first.locator(".reason")).to_contain_text("priority +5")
    expect(waiting.first.locator(".reason")).to_contain_text("model in memory")
    expect(page.locator(".counts [data-status=PENDING] dd")).to_have_text("3")
    waiting.nth(2).get_by_role("button", name="Cancel").click()
    expect(waiting).to_have_count(2)
    assert harness.status(others[1])["status"] == "CANCELLED"
    running.get_by_role("button", name="Cancel").click()
    expect(running).to_have_count(0)
    assert harness.ended(first)["status"] == "CANCELLED"
    assert harness.ended(urgent)["status"] == "COMPLETED"
    worker = page.locator(".worker")
    expect(worker).to_contain_text(re.compile(r"CPU on .* MB RAM", re.DOTALL))
    expect(worker.locator(".held")).to_contain_text("23 MB in RAM")


def test_failures_are_listed_with_a_retry(page: Page, harness: Harness):
    harness.made("a tower that mends later")
    page.evaluate("location.hash = '#/queue'")
    row = page.locator(".row", has_text="a tower that mends later").first
    expect(row).to_contain_text("The paint ran out")
    row.get_by_role("button", name="Retry").click()
    expect(page.locator("[aria-label='Failed lately'] .row", has_text="a tower that mends later")).to_have_count(0)


def test_the_status_view_draws_the_last_minutes(new_page: Callable[..., Page], harness: Harness):
    harness.made("something to measure")
    page = new_page(f"{harness.url}/#/status")
    expect(page.locator(".verdict")).to_have_text("Ready for work")
    expect(page.locator(".checks li")).to_contain_text(["Server", "Database"])
    for title in (
        "Jobs waiting and running",
        "Finished in the last minute",
        "Memory of the workers",
        "Free on the disk",
    ):
        chart = page.locator(".chart", has_text=title)
        expect(chart.locator("svg")).to_have_attribute("aria-label", re.compile(f"{title}: now "))
        expect(chart.locator(".chart-line")).to_have_attribute("d", re.compile(r"^M.*L"))
    expect(page.locator(".chart", has_text="GPU memory")).to_be_hidden()  # there is none
    expect(page.locator(".speeds tbody")).to_contain_text("painter")

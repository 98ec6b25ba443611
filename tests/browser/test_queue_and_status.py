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


def busy(harness: Harness) -> str:
    """The id of a job that runs until it is cancelled, so that others wait."""
    return harness.submit("slow holds the worker", num_inference_steps=40)


def test_many_are_cancelled_at_once(page: Page, harness: Harness):
    first = busy(harness)
    others = [harness.submit(f"one of many, number {n}") for n in range(4)]
    page.evaluate("location.hash = '#/queue'")
    waiting = page.locator("[aria-label=Waiting] .row")
    expect(waiting).to_have_count(4)
    expect(page.get_by_label("Select: one of many", exact=False).first).to_be_hidden()
    page.locator("#queue-select").click()
    bar = page.get_by_role("group", name="Selection")
    expect(bar.get_by_role("button", name="Cancel")).to_be_disabled()
    waiting.nth(1).get_by_role("checkbox").check()
    waiting.nth(2).get_by_role("checkbox").check()
    expect(bar.get_by_label("All")).to_have_js_property("indeterminate", True)
    bar.get_by_role("button", name="Cancel 2").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Cancel 2 entries?")
    dialog.get_by_role("button", name="Cancel them").click()
    expect(waiting).to_have_count(2)
    assert [harness.status(job_id)["status"] for job_id in others] == ["PENDING", "CANCELLED", "CANCELLED", "PENDING"]
    expect(bar).to_be_hidden()
    page.locator("#queue-select").click()
    bar.get_by_label("All").check()
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    expect(page.locator("#queue-select")).to_be_focused()
    page.keyboard.press("Enter")
    bar.get_by_label("All").check()
    bar.get_by_role("button", name="Cancel 3").click()
    dialog.get_by_role("button", name="Cancel them").click()
    expect(waiting).to_have_count(0)
    assert harness.ended(first)["status"] == "CANCELLED"


def test_the_waiting_jobs_of_a_batch_are_one_row(page: Page, harness: Harness):
    first = busy(harness)
    body = {"name": "twelve boats", "prompt": "a boat", "model_id": "painter", "seeds": 12}
    batch_id = harness.call("/api/batches", body)["batch_id"]
    alone = harness.submit("waits alone")
    page.evaluate("location.hash = '#/queue'")
    waiting = page.locator("[aria-label=Waiting] .row")
    expect(waiting).to_have_count(2)
    row = page.locator(f"[data-waits='{batch_id}']")
    expect(row.get_by_role("link")).to_have_text("twelve boats")
    expect(row).to_contain_text("12 jobs waiting of 12")
    expect(page.locator("[aria-label=Waiting] .none")).to_be_hidden()  # there are no others behind them
    row.get_by_role("button", name="Cancel the batch").click()
    expect(row).to_have_count(0)
    counts = harness.call(f"/api/batches/{batch_id}?limit=0")["counts"]
    assert counts["CANCELLED"] == 12
    for job_id in (alone, first):
        harness.call(f"/api/jobs/{job_id}/cancel", method="POST")


def test_a_waiting_job_shows_the_picture_that_it_begins_with(page: Page, harness: Harness):
    made = harness.made("a green hill", num_inference_steps=4)["images"][0]
    first = busy(harness)
    body = {"prompt": "the hill in winter", "model_id": "painter", "image": made["image_id"]}
    job_id = harness.call("/api/generate", body)["job_id"]
    page.evaluate("location.hash = '#/queue'")
    picture = page.locator(f".row[data-id='{job_id}'] .row-picture")
    expect(picture).to_have_attribute("src", made["thumbnail_url"])
    expect(picture).to_be_visible()
    for each in (job_id, first):
        harness.call(f"/api/jobs/{each}/cancel", method="POST")


def test_nothing_is_estimated_without_a_worker(new_page: Callable[..., Page], new_harness: Callable[..., Harness]):
    harness = new_harness().open()
    harness.made("what the time is learned from", num_inference_steps=40)
    job_id = harness.submit("slow and left behind", num_inference_steps=40)
    page = new_page(f"{harness.url}/#/queue")
    row = page.locator(f".row[data-id='{job_id}']")
    expect(row.locator(".remaining")).to_contain_text(re.compile("about|any moment"))
    assert harness.worker is not None
    harness.worker.kill()
    expect(page.locator("#banner")).to_contain_text("No worker is running")
    expect(row).to_be_visible()
    expect(row.locator(".remaining")).to_have_text("")

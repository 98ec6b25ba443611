"""Batches in the queue view: listed, stopped, and shown as a grid that fills while it is looked at."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.harness import Harness

BODY = {
    "name": "boats by guidance",
    "prompt": "a {red|blue} boat",
    "model_id": "painter",
    "axes": [{"field": "settings.guidance_scale", "values": [2, 3, 4]}],
    "settings": {"num_inference_steps": 4, "width": 64, "height": 64},
}


def test_a_grid_fills_while_it_is_looked_at(page: Page, harness: Harness):
    batch_id = harness.call("/api/batches", BODY)["batch_id"]
    page.evaluate("location.hash = '#/queue'")
    row = page.locator(f".row[data-batch='{batch_id}']")
    expect(row).to_contain_text("boats by guidance")
    row.get_by_role("link").click()
    table = page.locator(".batch-grid table")
    expect(table.locator("thead th")).to_have_text(["2", "3", "4"])
    expect(table.locator("tbody th")).to_have_text(["a red boat", "a blue boat"])
    expect(table.locator("img")).to_have_count(6)
    expect(table.locator("tbody tr").nth(1).locator("img").first).to_have_attribute("alt", "a blue boat")
    expect(row).to_contain_text("6 of 6")
    expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    table.locator("a").first.click()
    expect(page.locator("dialog[open]")).to_be_visible()


def test_a_batch_is_paused_resumed_and_cancelled(page: Page, harness: Harness):
    slow = {**BODY, "name": "slow ones", "seeds": 3, "settings": {**BODY["settings"], "num_inference_steps": 40}}
    batch_id = harness.call("/api/batches", slow)["batch_id"]
    page.evaluate("location.hash = '#/queue'")
    row = page.locator(f".row[data-batch='{batch_id}']")
    row.get_by_role("button", name="Pause").click()
    row.get_by_role("button", name="Resume").click()
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("ended")


def test_a_batch_is_moved_to_the_top_and_back_and_the_focus_stays(page: Page, harness: Harness):
    first = harness.submit("slow holds the worker", num_inference_steps=40)
    batches = [harness.call("/api/batches", {**BODY, "name": f"batch {n}", "seeds": 2})["batch_id"] for n in (1, 2)]
    page.evaluate("location.hash = '#/queue'")
    row = page.locator(f".row[data-batch='{batches[1]}']")
    row.get_by_role("button", name="Move to the top").focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text("priority +10")
    expect(page.locator("[aria-label=Waiting] .row").first).to_have_attribute("data-waits", batches[1])
    row.get_by_role("button", name="Usual turn").focus()
    with page.expect_request("**/api/batches?limit=20"):
        pass
    expect(row.get_by_role("button", name="Usual turn")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Move to the top")).to_be_visible()
    for batch_id in batches:
        harness.call(f"/api/batches/{batch_id}/cancel", method="POST")
    harness.call(f"/api/jobs/{first}/cancel", method="POST")

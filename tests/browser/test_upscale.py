"""Upscaling a picture, and the second pass."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work, work_menu
from tests.browser.harness import Harness
from tests.browser.test_start import generate, sent_by


def test_a_picture_is_made_twice_as_large(new_page: Callable[..., Page], harness: Harness):
    made = harness.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
    page = new_page(f"{harness.url}/#/gallery")
    page.locator(".grid a.tile").first.click()
    with page.expect_request("**/upscale") as request:
        choose_work(page, "Upscale 2×")
    assert request.value.url.endswith(f"/api/image/{made['image_id']}/upscale")
    assert request.value.post_data_json == {"factor": 2}
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    expect(page.locator("#job-panel .facts")).to_contain_text("512 × 512")
    actions = page.locator("#job-panel .actions")
    assert "Upscale 2×" in work_menu(page)
    expect(actions.get_by_role("button", name="Variations")).to_have_count(0)  # the form knows no upscalers
    newest = harness.call("/api/images?limit=1")["images"][0]
    assert harness.call(f"/api/image/{newest['image_id']}/lineage")["made_from"] == [
        {"image_id": made["image_id"], "how": "upscale"}
    ]


def test_a_refusal_is_shown(new_page: Callable[..., Page], harness: Harness):
    harness.made("a green hill", seed=5, num_inference_steps=4)
    page = new_page(f"{harness.url}/#/gallery", forgive=True)
    page.route("**/upscale", lambda route: route.fulfill(status=410, json={"detail": "The image was removed."}))
    page.locator(".grid a.tile").first.click()
    choose_work(page, "Upscale 2×")
    expect(page.locator("#toasts")).to_contain_text("The image was removed.")


def test_a_second_pass_is_sent_and_comes_back(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url)
    page.locator(".fine summary").click()
    page.locator("#second-pass").select_option(label="Twice as large")
    assert generate(page)["settings"]["upscale"] == {"factor": 2}
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    page.locator("#second-pass").select_option(label="None")
    page.locator("#job-panel").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#second-pass")).to_have_value("2")
    body = sent_by(page, page.locator("#job-panel").get_by_role("button", name="Variations").click)
    assert (body["settings"]["width"], body["settings"]["upscale"]["factor"]) == (256, 2)
    page.locator("#model").select_option("fixed")  # its tasks are not known to have img2img
    expect(page.locator("#second-pass")).to_be_hidden()
    assert "upscale" not in generate(page)["settings"]

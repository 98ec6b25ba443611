"""Generating images: from the prompt to the result, with progress and previews."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.harness import Harness


def test_a_newcomer_makes_a_picture(page: Page):
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("a red boat on a calm sea")
    page.get_by_role("button", name="Generate").click()
    picture = page.locator("#job-panel .picture img")
    expect(picture).to_have_class(re.compile("there"))
    assert picture.evaluate("image => image.naturalWidth") == 256
    expect(page.locator("#job-panel .facts")).to_contain_text("256 × 256")
    expect(page.locator("#announcer")).to_contain_text("Finished")
    expect(page.locator("#latest-tiles .tile").first).to_have_attribute("href", picture.get_attribute("src"))
    expect(page.locator("#prompt")).to_have_value("a red boat on a calm sea")


def ask_for_something_long(page: Page, prompt: str) -> None:
    """Starts a job of forty seconds or more; the caller must cancel it."""
    page.locator("#steps").fill("40")
    page.fill("#prompt", f"slow {prompt}")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .status-text")).to_have_text(re.compile(r"Step \d+ of 40"))


def cancel(page: Page) -> None:
    page.locator("#job-panel").get_by_role("button", name="Cancel").click()
    expect(page.locator("#job-panel .job-panel")).to_have_attribute("data-status", "CANCELLED")


def test_progress_is_shown_and_a_preview_sharpens(page: Page):
    ask_for_something_long(page, "hills")
    expect(page.locator("#job-panel .preview")).to_have_attribute(
        "src", re.compile("^data:image/(webp|png|jpeg);base64,")
    )
    early = page.locator("#job-panel .preview").get_attribute("src")
    value = page.locator("#job-panel progress").evaluate("bar => bar.value")
    expect(page.locator("#job-panel .preview")).not_to_have_attribute("src", early)
    expect(page).to_have_title(re.compile(r"\d+% · CyberImage"))
    # Previews and progress come by ways of their own: the bar may follow a moment later.
    expect(page.locator("#job-panel progress")).not_to_have_js_property("value", value)
    assert page.locator("#job-panel progress").evaluate("bar => bar.value") > value
    cancel(page)
    expect(page).to_have_title("CyberImage")


def test_a_running_job_is_cancelled_and_can_be_retried(page: Page, harness: Harness):
    ask_for_something_long(page, "river")
    cancel(page)
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    cancel(page)
    assert harness.call("/api/queue")["running"] == []


def test_several_jobs_at_once(page: Page):
    ask_for_something_long(page, "boat number one")
    page.locator("#steps").fill("4")
    for name in ("two", "three"):
        page.fill("#prompt", f"boat number {name}")
        page.keyboard.press("Control+Enter")
        expect(page.locator(f".strip-item[aria-label^='boat number {name}']")).to_have_count(1)
    third = page.locator(".strip-item[aria-label*='number three']")
    expect(third).to_have_attribute("aria-label", "boat number three: 2nd in line")
    expect(page.locator("#queue-badge")).to_have_text("3")
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("slow boat number one")
    page.locator("#job-panel").get_by_role("button", name="Cancel").click()
    expect(page.locator(".strip-item[data-status=CANCELLED]")).to_have_count(1)
    expect(page.locator(".strip-item[data-status=COMPLETED]")).to_have_count(2)
    page.locator(".strip-item[aria-label*='number two']").click()
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("boat number two")


def test_several_pictures_of_one_job(page: Page):
    page.fill("#prompt", "four of them")
    page.locator("#count label", has_text="4").click()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .picture img.there")).to_have_count(4)


def test_nothing_is_lost_on_an_error(page: Page):
    page.fill("#prompt", "x" * 501)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-error")).to_contain_text("501 characters")
    expect(page.locator("#prompt")).to_have_value("x" * 501)
    expect(page.locator("#prompt-count")).to_have_class(re.compile("over"))
    page.fill("#prompt", " ")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-error")).to_contain_text("Say what the picture should show")
    page.fill("#prompt", "better")
    expect(page.locator("#form-error")).to_be_hidden()


def test_errors_of_the_server_are_shown(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url, forgive=True)  # the browser itself complains about every 400
    page.fill("#prompt", "a\u0001b")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-error")).to_contain_text("control character")
    expect(page.locator("#prompt")).to_have_value("a\u0001b")


def test_a_failure_shows_its_message_and_can_be_retried(page: Page):
    page.fill("#prompt", "a bridge that mends")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#job-panel .sentence")).to_contain_text("The paint ran out")
    expect(page.locator("#announcer")).to_contain_text("Failed")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_generating_by_keyboard_only(page: Page):
    page.keyboard.type("a hill, by keyboard alone")
    for _ in range(4):  # an example, earlier prompts, a picture's settings, Generate
        page.keyboard.press("Tab")
    expect(page.locator("#generate")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    page.locator("#job-panel .picture").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog.lightbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    expect(page.locator("#job-panel .picture")).to_be_focused()


def test_a_reload_restores_the_jobs(page: Page):
    ask_for_something_long(page, "mill")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("slow mill")
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("slow mill")
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    cancel(page)

"""The page in German: by the browser's wish or by a choice, whole, and within its bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, VIEWS, go, open_settings, violations

# Parts of the page that are wider than their box though they do not scroll: cut-off words.
CUT = """() => [...document.querySelectorAll("button, h1, h2, h3, label, legend, .tabs a, .chip, dt, dd, summary")]
  .filter(one => one.checkVisibility() && !one.closest(".unseen, .tile, .row-prompt"))
  .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline")
  .filter(one => !one.classList.contains("unseen"))
  .map(one => one.textContent.trim().slice(0, 60))"""


def test_the_browser_asks_for_german(new_page: Callable[..., Page], harness: Harness) -> None:
    page = new_page(harness.url, locale="de-DE")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#generate-text")).to_have_text("Erzeugen")
    page.locator("#prompt").fill("")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_have_text("Beschreiben, was das Bild zeigen soll.")
    go(page, "queue")
    expect(page.locator("#queue-title")).to_have_text("Aufträge")
    assert page.title() == "Aufträge · CyberImage"


def test_numbers_and_dates_are_written_as_the_language_does(new_page: Callable[..., Page], harness: Harness) -> None:
    harness.made("a lake", num_inference_steps=4, guidance_scale=3.5)
    page = new_page(harness.url, locale="de-DE")
    page.locator("details.fine summary").click()
    expect(page.locator("#guidance-value")).to_have_text("3,5")
    go(page, "gallery")
    page.locator(".grid a.tile").first.click()
    expect(page.locator(".lightbox dl")).to_contain_text(re.compile(r"\d\d\.\d\d\.20\d\d"))


def test_an_error_of_the_server_is_told_in_german(new_page: Callable[..., Page], harness: Harness) -> None:
    job = harness.made("a broken bridge")
    assert job["status"] == "FAILED"
    page = new_page(harness.url, locale="de-DE")
    go(page, "queue")
    expect(page.locator(".row-error").first).to_have_text(re.compile("^Das Erzeugen ist fehlgeschlagen: "))


def test_a_choice_is_kept_and_loses_nothing(new_page: Callable[..., Page], harness: Harness) -> None:
    page = new_page(harness.url, locale="de-DE")
    page.locator("#prompt").fill("ein Boot")
    page.locator("#steps").fill("9")
    page.locator("#help").click()
    expect(page.get_by_label("Sprache")).to_have_value("")
    page.get_by_label("Sprache").select_option("English")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#prompt")).to_have_value("ein Boot")
    expect(page.locator("#steps")).to_have_value("9")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator("#help").click()
    page.get_by_label("Language").select_option("As the browser asks")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert [one["name"] for one in page.context.cookies()] == []


def test_the_page_works_when_the_sentences_do_not_come(new_page: Callable[..., Page], harness: Harness) -> None:
    page = new_page(harness.url, forgive=True)
    page.context.add_cookies([{"name": "language", "value": "de", "url": harness.url}])
    page.route("**/static/strings/de.json", lambda route: route.abort())
    page.reload()
    expect(page.locator("#model option").first).to_be_attached()
    page.locator("#prompt").fill("a boat")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_german_words_are_not_cut_off(
    new_page: Callable[..., Page], harness: Harness, axe: str, options: dict[str, Any]
) -> None:
    harness.made("a quiet lake", num_inference_steps=4)
    harness.made("a broken bridge")
    page = new_page(harness.url, locale="de-DE", reduced_motion="reduce", **options)
    width = page.viewport_size["width"]
    open_settings(page)
    page.locator("details.fine summary").click()
    page.locator("#batch > summary").click()
    expect(page.locator(".batch-axis select")).to_be_visible()
    for view in VIEWS:
        go(page, view)
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") == width, view
        assert page.evaluate(CUT) == [], view
        assert violations(page, axe) == [], view
    go(page, "gallery")
    page.locator(".grid a.tile").first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    side = page.locator(".lightbox-side")
    assert side.evaluate("side => side.scrollWidth - side.clientWidth") == 0
    assert page.evaluate(CUT) == []

"""The model select: what is here first, the rest by what it makes, then what does not fit this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work, work_menu
from tests.browser.harness import Harness

CARD = {"answer": "yes", "plan": "float8, group", "reason": ""}


def groups(page: Page) -> dict[str, list[str]]:
    found = page.locator("#model optgroup").evaluate_all(
        "groups => groups.map(group => [group.label, [...group.children].map(option => option.textContent)])"
    )
    return dict(found)


def test_models_are_grouped_and_what_does_not_fit_comes_last(page: Page):
    listed = groups(page)
    labels = list(listed)
    assert labels[0] == "On this machine"
    assert labels[-1] == "Do not fit this machine"  # a CPU: nothing above four billion weights
    assert {"demo", "painter"} <= set(listed["On this machine"])
    assert "sd15" in listed["Pictures, not here yet"]
    assert {"flux2-dev", "flux-kontext", "ltx-2.3"} <= set(listed["Do not fit this machine"])
    page.select_option("#model", "flux-kontext")
    note = page.locator("#model-note")
    expect(note).to_contain_text("It needs a GPU: a CPU would take hours for its 17 billion weights.")
    expect(note).to_have_class(re.compile("warn"))
    page.select_option("#model", "painter")
    expect(note).not_to_have_class(re.compile("warn"))


def test_a_machine_with_a_card_offers_more_and_says_what_is_slow(new_page: Callable[..., Page], harness: Harness):
    models: dict[str, Any] = harness.call("/api/models")
    for model in models["models"]:
        if model["id"] == "painter":
            model["fits"] = {"answer": "no", "plan": None, "reason": "It needs more."}
        elif not model["available"]:
            model["fits"] = CARD
    page = new_page(harness.url)
    page.route("**/api/models", lambda route: route.fulfill(json=models))
    page.reload()
    expect(page.locator("#model optgroup").nth(3)).to_be_attached()
    listed = groups(page)
    assert list(listed) == [
        "On this machine",
        "Pictures, not here yet",
        "Change pictures, not here yet",
        "Videos, not here yet",
    ]
    assert "painter – does not fit" in listed["On this machine"]
    assert listed["Videos, not here yet"] == ["wan22-5b", "ltx-2.3"]
    page.select_option("#model", "qwen-image-edit")
    expect(page.locator("#model-note")).to_contain_text("downloads first · slow on this machine")


def test_a_video_is_offered_by_models_that_fit(new_page: Callable[..., Page], harness: Harness):
    harness.made("a quiet lake", seed=3)
    models: dict[str, Any] = harness.call("/api/models")
    for model in models["models"]:
        if model["id"] == "wan22-5b":
            model["fits"] = CARD
    page = new_page(f"{harness.url}/#/gallery")
    page.locator(".grid a.tile").first.click()
    expect(page.locator(".lightbox dl dd").nth(6)).to_be_visible()
    assert "Make a video" not in work_menu(page)  # none fits a CPU
    page.route("**/api/models", lambda route: route.fulfill(json=models))
    page.goto(f"{harness.url}/#/gallery")
    page.reload()
    page.locator(".grid a.tile").first.click()
    choose_work(page, "Make a video")
    expect(page.locator("#video-model option")).to_have_text(["wan22-5b"])
    expect(page.locator("#video-about")).to_contain_text("downloads first")

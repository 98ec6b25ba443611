"""The command palette: everything that a button or a key does, by the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.gallery_pages import a_word, made, open_gallery, pictures
from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, violations


def open_palette(page: Page, typed: str = "") -> Locator:
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-input")).to_be_focused()
    page.keyboard.type(typed)
    return page.locator("#palette [role=option]")


def active(page: Page) -> str:
    """The option that a screen reader is told of."""
    return page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent"
    )


def test_a_command_is_found_and_run_by_the_keyboard(page: Page) -> None:
    page.locator("#prompt").focus()
    options = open_palette(page, "gal")
    expect(options.first).to_have_text("Gallery")
    assert active(page) == "Gallery"
    page.keyboard.press("Enter")
    expect(page.locator("main > [data-view=gallery]")).to_be_visible()
    expect(page.locator("#palette")).to_be_hidden()


def test_arrows_go_around_and_escape_leaves_everything_as_it_was(page: Page) -> None:
    page.locator("#prompt").fill("a boat")
    options = open_palette(page)
    first, last = options.first.inner_text(), options.last.inner_text()
    assert active(page) in first
    page.keyboard.press("ArrowUp")
    assert active(page) in last
    expect(options.last).to_be_in_viewport()
    page.keyboard.press("ArrowDown")
    assert active(page) in first
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator("#prompt")).to_have_value("a boat")
    open_palette(page)
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_hidden()


def test_it_lists_what_the_view_has_buttons_for(page: Page) -> None:
    options = open_palette(page)
    names = [name.split("\n")[0] for name in options.all_inner_texts()]
    for name in ("Generate", "Prompts", "Pictures: 4", "Batch", "Change the theme", "Lock", "Queue", "fixed"):
        assert name in names, names
    assert "Pictures: 1" not in names  # it is chosen
    assert "Ctrl ↵" in options.filter(has_text="Generate").first.inner_text()
    page.keyboard.type("lock")
    page.keyboard.press("Enter")  # in a part that is folded
    expect(page.locator("#seed-lock")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#seed-lock")).to_be_in_viewport()


def test_models_and_presets_are_chosen(page: Page) -> None:
    page.locator("#steps").fill("9")
    page.locator("#prompts-open").click()
    page.get_by_label("Name of the preset").fill("Nine steps")
    page.get_by_role("button", name="Keep these settings").click()
    page.keyboard.press("Escape")
    open_palette(page, "fixed")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_value("fixed")
    page.locator("#prompt").fill("it stays")
    open_palette(page, "nine")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_value("painter")
    expect(page.locator("#steps")).to_have_value("9")
    expect(page.locator("#prompt")).to_have_value("it stays")


def test_nothing_matches(page: Page) -> None:
    options = open_palette(page, "xyzzy")
    expect(page.locator("#palette .note")).to_have_text("Nothing matches.")
    expect(options).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#palette")).to_be_visible()


def test_over_a_picture_it_has_the_commands_of_the_picture(page: Page, harness: Harness) -> None:
    word = a_word()
    made(harness, word, 2)
    open_gallery(page, harness, word, 2)
    pictures(page).first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    options = open_palette(page)
    names = options.all_inner_texts()
    assert "Use these settings" in names
    assert "Queue" not in names  # what lies behind cannot be used
    page.keyboard.type("next picture")
    page.keyboard.press("Enter")
    expect(page.locator(".lightbox-counter")).to_have_text("2 / 2")


def test_prompts_and_pictures_are_no_commands(page: Page, harness: Harness) -> None:
    word = a_word()
    made(harness, word, 2)
    open_gallery(page, harness, word, 2)
    options = open_palette(page, word)
    expect(options).to_have_count(0)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_it_is_accessible(new_page: Callable[..., Page], harness: Harness, axe: str, theme: str, options: dict) -> None:
    page = new_page(harness.url, reduced_motion="reduce", **options)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.locator("#help").click()
    page.get_by_role("button", name="All commands").click()  # a phone has no keys
    expect(page.locator("#palette [role=option]").first).to_be_visible()
    assert violations(page, axe) == []
    page.locator("#palette-input").fill("gen")
    assert violations(page, axe) == []

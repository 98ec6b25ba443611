"""Work in the gallery: favourites, tags, filters in the address, selection, archives and the bin; by keyboard too."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import a_word, found, made, open_gallery, pictures
from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, violations
from tests.waiting import wait_until


@pytest.fixture
def page(new_page: Callable[..., Page], studio: Harness) -> Page:
    return new_page(studio.url)


def bar(page: Page, name: str) -> Any:
    return page.locator(".selection-bar").get_by_role("button", name=name, exact=True)


def test_hearts_by_key_and_by_mouse_are_the_same_everywhere(page: Page, studio: Harness):
    word = a_word()
    ids = [picture["image_id"] for picture in made(studio, word, 3)]
    open_gallery(page, studio, word, 3)
    pictures(page).first.focus()
    page.keyboard.press("f")
    wait_until(lambda: found(studio, word, "&favorite=1") == [ids[2]], "the key did nothing")
    second = page.locator(".grid li").filter(has=page.locator(f'[data-id="{ids[1]}"]'))
    second.hover()
    second.get_by_role("button", name="Favourite").click()
    wait_until(lambda: len(found(studio, word, "&favorite=1")) == 2, "the heart did nothing")
    pictures(page).nth(1).click()
    heart = page.locator("dialog.lightbox").get_by_role("button", name="Favourite")
    expect(heart).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    expect(heart).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    page.locator(".gallery-head label", has_text="Favourites").click()
    expect(pictures(page)).to_have_count(1)
    expect(page).to_have_url(re.compile("show=favorites"))


def test_the_filter_is_in_the_address(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 3)
    open_gallery(page, studio, word, 3)
    page.get_by_label("Search the prompts").fill(f"NUMBER {word.upper()} 2")
    expect(pictures(page)).to_have_count(1)
    page.locator(".gallery-filters").get_by_label("Seed").fill("2")
    page.locator(".gallery-filters").get_by_label("Seed").press("Enter")
    page.get_by_label("Order").select_option("oldest")
    expect(pictures(page)).to_have_count(1)
    address = page.url
    page.reload()
    expect(pictures(page)).to_have_count(1)
    assert page.url == address
    expect(page.get_by_label("Search the prompts")).to_have_value(f"NUMBER {word.upper()} 2")
    expect(page.locator(".gallery-filters").get_by_label("Seed")).to_have_value("2")
    page.get_by_role("button", name="Clear filters").click()
    expect(pictures(page)).not_to_have_count(1)
    page.goto(f"{studio.url}/#/gallery?seed=x&sort=sideways&until=never&tag=a,b&search={word}")  # what makes no sense
    expect(pictures(page)).to_have_count(3)


def test_days_are_headings(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 2)
    open_gallery(page, studio, word, 2)
    expect(page.locator(".grid .day")).to_have_count(1)
    expect(page.locator(".grid .day")).to_have_text("Today")
    rows = page.evaluate(
        """async () => {
          const { layoutRows } = await import("/static/js/virtual-grid.js");
          const day = (n) => (n < 4 ? "A" : n < 5 ? "B" : "C");
          const items = Array.from({ length: 9 }, (_, n) => ({ width: 1, height: 1, day: day(n) }));
          const lay = (some, before = []) => layoutRows(some, 500, 200, before, (item) => item.day);
          const [rows, grown] = [lay(items), lay(items, lay(items.slice(0, 6)))];
          const shown = rows.map(({ start, end, heading }) => [start, end, heading]);
          return [shown, JSON.stringify(rows) === JSON.stringify(grown)];
        }"""
    )
    assert rows == [[[0, 3, "A"], [3, 4, None], [4, 5, "B"], [5, 8, "C"], [8, 9, None]], True]


def test_a_frame_selects_and_shift_extends_and_all_takes_the_rest(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 6)
    open_gallery(page, studio, word, 6)
    first, third = (pictures(page).nth(n).bounding_box() for n in (0, 2))
    page.mouse.move(first["x"] + 30, first["y"] + 30)
    page.mouse.down()
    page.mouse.move(third["x"] + 30, third["y"] + 60, steps=8)
    page.mouse.up()
    expect(page.locator(".selection-bar p")).to_have_text("3 pictures selected")
    expect(page.locator("dialog.lightbox")).to_have_count(0)  # the drag was no click
    pictures(page).nth(1).click()
    expect(page.locator(".selection-bar p")).to_have_text("2 pictures selected")
    pictures(page).nth(4).click(modifiers=["Shift"])
    expect(page.locator(".selection-bar p")).to_have_text("5 pictures selected")
    bar(page, "All").click()
    expect(page.locator(".selection-bar p")).to_have_text("6 pictures selected")
    pictures(page).first.click()
    expect(page.locator(".selection-bar p")).to_have_text("5 pictures selected")
    bar(page, "Favourite").click()
    wait_until(lambda: len(found(studio, word, "&favorite=1")) == 5, "all but one were to be marked")
    page.get_by_role("button", name="Undo").click()
    wait_until(lambda: not found(studio, word, "&favorite=1"), "the undo did nothing")


def test_tags_by_keyboard_alone(page: Page, studio: Harness):
    word = a_word()
    ids = [picture["image_id"] for picture in made(studio, word, 3)]
    open_gallery(page, studio, word, 3)
    pictures(page).first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.locator(".selection-bar p")).to_have_text("2 pictures selected")
    bar(page, "Tag").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tag-input")).to_be_focused()
    page.keyboard.type(f"Best of {word}")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("2 pictures tagged")
    assert found(studio, word, f"&tag=best%20of%20{word}") == [ids[2], ids[1]]
    pictures(page).first.focus()
    page.keyboard.press("Enter")
    tag = page.locator("dialog.lightbox .tag a")
    expect(tag).to_have_text(f"Best of {word}")
    page.get_by_label("Add a tag").fill("Second")
    page.keyboard.press("Enter")
    expect(page.locator("dialog.lightbox .tag")).to_have_count(2)
    page.get_by_role("button", name="Remove the tag Second").click()
    expect(page.locator("dialog.lightbox .tag")).to_have_count(1)
    tag.click()
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    expect(pictures(page)).to_have_count(2)
    expect(page.get_by_label("Tag", exact=True).last).to_have_value(f"Best of {word}")


def test_selected_pictures_are_downloaded_as_one_archive(page: Page, studio: Harness, tmp_path: Path):
    word = a_word()
    made(studio, word, 3)
    open_gallery(page, studio, word, 3)
    page.get_by_role("button", name="Select").click()
    bar(page, "All").click()
    with page.expect_download() as download:
        bar(page, "Download").click()
    assert re.fullmatch(r"cyberimage-\d{4}-\d\d-\d\d\.zip", download.value.suggested_filename)
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as zipped:
        assert len(set(zipped.namelist())) == 3
        assert zipped.testzip() is None
    expect(page.locator(".toast")).to_contain_text("3 pictures saved")


def test_the_bin_shows_restores_and_removes(page: Page, studio: Harness):
    word = a_word()
    ids = [picture["image_id"] for picture in made(studio, word, 3)]
    body = {"action": "delete", "ids": ids}
    studio.call("/api/images/actions", body)
    page.goto(f"{studio.url}/#/gallery?show=bin&search={word}")
    expect(pictures(page)).to_have_count(3)
    expect(page.locator(".grid img.there")).to_have_count(3)
    expect(page.locator(".grid .day").first).to_have_text("Deleted today")
    pictures(page).first.click()
    page.locator("dialog.lightbox").get_by_role("button", name="Restore").click()
    expect(page.locator(".toast").last).to_contain_text("1 picture restored")
    expect(pictures(page)).to_have_count(2)
    assert len(found(studio, word)) == 1
    page.get_by_role("button", name="Select").click()
    pictures(page).first.click()
    bar(page, "Delete for good").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Delete for good").click()
    expect(pictures(page)).to_have_count(1)
    assert len(found(studio, word, "&bin=1")) == 1
    page.get_by_role("button", name="Select").click()
    bar(page, "All").click()
    bar(page, "Restore").click()
    expect(page.locator(".nothing")).to_be_visible()
    assert len(found(studio, word)) == 2


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_selection_bin_menu_and_question(
    new_page: Callable[..., Page], studio: Harness, axe: str, options: dict[str, Any]
):
    word = a_word()
    made(studio, word, 2)
    page = open_gallery(new_page(studio.url, reduced_motion="reduce", **options), studio, word, 2)
    faults = {}
    page.get_by_role("button", name="Select").click()
    pictures(page).first.click()
    faults["selection"] = violations(page, axe)
    bar(page, "Tag").click()
    faults["tags"] = violations(page, axe)
    page.keyboard.press("Escape")
    bar(page, "Done").click()
    pictures(page).first.click()
    page.locator("dialog.lightbox").get_by_role("button", name="More").click()
    expect(page.locator("#work-menu")).to_be_visible()
    faults["menu"] = violations(page, axe)
    page.keyboard.press("Escape")
    page.locator("dialog.lightbox .lightbox-close").click()
    studio.call("/api/images/actions", {"action": "delete", "filter": {"search": word}})
    page.goto(f"{studio.url}/#/gallery?show=bin&search={word}")
    expect(pictures(page)).to_have_count(2)
    page.get_by_role("button", name="Select").click()
    pictures(page).first.click()
    bar(page, "Delete for good").click()
    expect(page.get_by_role("alertdialog")).to_be_visible()
    faults["question"] = violations(page, axe)
    assert not any(faults.values()), faults

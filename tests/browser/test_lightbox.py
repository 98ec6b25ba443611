"""The lightbox: addresses, zoom, swipes, neighbours, copies, lineage and what can be done with a picture."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import a_word, choose_work, made, open_gallery, pictures, repainted
from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE


@pytest.fixture
def page(new_page: Callable[..., Page], studio: Harness) -> Page:
    return new_page(studio.url)


def test_a_picture_has_an_address(page: Page, studio: Harness, new_page: Callable[..., Page]):
    word = a_word()
    ids = [picture["image_id"] for picture in made(studio, word, 3)]
    open_gallery(page, studio, word, 3)
    pictures(page).first.click()
    expect(page).to_have_url(re.compile(f"picture={ids[2]}"))
    expect(page.locator(".lightbox-counter")).to_have_text("1 / 3")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".lightbox-counter")).to_have_text("2 / 3")
    expect(page).to_have_url(re.compile(f"picture={ids[1]}"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Copy link").click()
    expect(page.locator(".toast")).to_contain_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    choose_work(page, "Copy picture")
    expect(page.locator(".toast").last).to_contain_text("Picture copied")
    kinds = page.evaluate("navigator.clipboard.read().then(items => items.flatMap(item => item.types))")
    assert kinds == ["image/png"]
    other = new_page(link, forgive=True)
    expect(other.locator(".lightbox-prompt")).to_have_text(f"{word} number 1")
    other.keyboard.press("Escape")
    expect(other.locator("dialog.lightbox")).to_be_hidden()
    expect(other).not_to_have_url(re.compile("picture="))
    other.goto(f"{studio.url}/#/gallery?picture={'0' * 32}")
    expect(other.locator(".toast")).to_contain_text("no image")


def test_zoom_by_wheel_keys_and_double_click(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 1)
    open_gallery(page, studio, word, 1)
    pictures(page).first.click()
    zoom = page.locator(".lightbox-zoom")
    expect(zoom).not_to_be_empty()
    fitted = zoom.inner_text()
    page.keyboard.press("1")
    expect(zoom).to_have_text("100 %")
    page.keyboard.press("0")
    expect(zoom).to_have_text(fitted)
    box = page.locator(".lightbox-picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -600)
    expect(page.locator(".lightbox-picture")).to_have_attribute("data-zoomed", "true")
    before = page.locator(".lightbox-content").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2 + 40, steps=4)
    page.mouse.up()
    after = page.locator(".lightbox-content").bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((60, 40), abs=2)
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(zoom).to_have_text(fitted)


def test_neighbours_are_loaded_before_they_are_asked_for(page: Page, studio: Harness):
    word = a_word()
    ids = [picture["image_id"] for picture in made(studio, word, 3)]
    open_gallery(page, studio, word, 3)
    with page.expect_request(lambda request: request.url.endswith(f"/api/image/{ids[1]}")):
        pictures(page).first.click()


class Fingers:
    """Touches of a page, by their places in the window."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)

    def down(self, *places: tuple[float, float]) -> None:
        self._send("touchStart", *places)

    def move(self, *places: tuple[float, float]) -> None:
        self._send("touchMove", *places)

    def up(self) -> None:
        self._send("touchEnd")

    def _send(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_fingers_swipe_and_pinch(new_page: Callable[..., Page], studio: Harness):
    word = a_word()
    made(studio, word, 2)
    page = open_gallery(new_page(studio.url, **PHONE), studio, word, 2)
    pictures(page).first.tap()
    fingers = Fingers(page)
    prompt = page.locator(".lightbox-prompt")
    expect(prompt).to_have_text(f"{word} number 1")
    fingers.down((300, 250))
    for x in (250, 180, 90):
        fingers.move((x, 252))
    fingers.up()
    expect(prompt).to_have_text(f"{word} number 0")
    fingers.down((150, 250), (240, 250))
    for spread in (20, 50, 80):
        fingers.move((150 - spread, 250), (240 + spread, 250))
    fingers.up()
    expect(page.locator(".lightbox-picture")).to_have_attribute("data-zoomed", "true")
    expect(prompt).to_have_text(f"{word} number 0")  # a pinch is no swipe


def test_what_it_was_made_from_leads_back_and_can_be_compared(page: Page, studio: Harness):
    word = a_word()
    repainted(studio, word)
    page.goto(f"{studio.url}/#/gallery?search={word} repainted")
    pictures(page).first.click()
    row = page.get_by_role("region", name="Made from")
    expect(row).to_contain_text("repainted")
    page.get_by_role("button", name="Compare with it").click()
    slider = page.locator(".compare input")
    expect(slider).to_be_focused()
    page.keyboard.press("Home")
    expect(slider).to_have_value("0")
    page.get_by_role("button", name="Compare with it").click()
    expect(page.locator(".compare")).to_have_count(0)
    row.get_by_role("button").click()
    expect(page.locator(".lightbox-prompt")).to_have_text(f"{word} source")
    expect(page.get_by_role("region", name="Made of it")).to_be_visible()


def test_the_menu_has_what_the_models_here_can_do(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 1)
    open_gallery(page, studio, word, 1)
    pictures(page).first.click()
    page.get_by_role("button", name="More").focus()
    page.keyboard.press("Enter")
    items = page.locator("#work-menu [role=menuitem]")
    expect(items.first).to_be_focused()
    names = items.all_inner_texts()
    assert {"Variations", "Repaint a part", "Extend", "Upscale 2×", "Upscale 4×", "Start from this"} <= set(names)
    assert "Use as control" in names  # for the built-in model
    assert not {"Edit by instruction", "Make a video"} & set(names)
    page.keyboard.press("End")
    expect(items.last).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#work-menu")).to_be_hidden()
    expect(page.get_by_role("button", name="More")).to_be_focused()
    expect(page.locator("dialog.lightbox")).to_be_visible()

"""The gallery: search, lightbox, reuse of settings, delete and undo, dropped files."""

from __future__ import annotations

import itertools
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work
from tests.browser.harness import Harness
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def filled_harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Six pictures of two models and one failure."""
    with Harness(tmp_path_factory.mktemp("gallery")) as harness:
        harness.open()
        for seed, prompt in enumerate(["a red boat", "a green hill", "a RED house", "a pine forest", "a desert"]):
            harness.made(prompt, seed=seed + 1, num_inference_steps=5)
        harness.made("broken bridge")
        harness.ended(harness.submit("a red moon", "fixed", seed=77))
        yield harness


@pytest.fixture
def gallery(new_page: Callable[..., Page], filled_harness: Harness) -> Page:
    page = new_page(f"{filled_harness.url}/#/gallery")
    expect(page.locator(".grid .tile")).not_to_have_count(0)
    return page


def pictures(page: Page):
    return page.locator(".grid a.tile")


def test_newest_first_with_failures_and_their_messages(gallery: Page):
    texts = gallery.locator(".grid .tile").locator(".tile-words, .tile-prompt").all_text_contents()
    assert texts == [
        "a red moon",
        "broken bridge",
        "a desert",
        "a pine forest",
        "a RED house",
        "a green hill",
        "a red boat",
    ]
    failed = gallery.locator(".tile.unfinished")
    expect(failed.locator(".chip")).to_have_text("Failed")
    expect(failed.locator(".tile-error")).to_contain_text("The paint ran out")
    failed.get_by_role("button", name="Retry").click()
    expect(gallery.locator(".toast")).to_contain_text("Back in line")
    expect(gallery.locator(".tile.unfinished .chip")).to_have_text("Failed")


def test_thumbnails_are_lazy_and_their_space_is_reserved(gallery: Page):
    tile = pictures(gallery).first
    expect(tile.locator("img")).to_have_attribute("loading", "lazy")
    expect(tile.locator("img")).to_have_class(re.compile("there"))
    box = tile.bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)  # as 256 × 256 has it


def test_search_and_filters(gallery: Page):
    gallery.get_by_label("Search the prompts").fill("red")
    expect(pictures(gallery)).to_have_count(3)
    gallery.get_by_label("Model", exact=True).last.select_option("fixed")
    expect(pictures(gallery)).to_have_count(1)
    gallery.get_by_label("Search the prompts").fill("no such thing")
    expect(gallery.locator(".nothing")).to_contain_text("Nothing matches")
    gallery.get_by_label("Search the prompts").fill("")
    gallery.get_by_label("Model", exact=True).last.select_option("")
    gallery.locator(".gallery-head label", has_text="Failed").click()
    expect(gallery.locator(".tile.unfinished")).to_have_count(1)
    expect(pictures(gallery)).to_have_count(0)


def test_only_the_last_week(gallery: Page):
    """The page requests images of the last week, and shows the response."""
    day = 86_400
    with gallery.expect_request("**/api/images?*since=*") as request:
        gallery.get_by_label("When").select_option("7")
    since = datetime.fromisoformat(parse_qs(urlparse(request.value.url).query)["since"][0])
    assert abs(time.time() - since.timestamp() - 7 * day) < day
    expect(pictures(gallery)).not_to_have_count(0)
    with gallery.expect_request(lambda sent: "/api/images?" in sent.url and "since=" not in sent.url):
        gallery.get_by_label("When").select_option("")


def test_keyboard_navigation(gallery: Page):
    pictures(gallery).first.focus()
    gallery.keyboard.press("ArrowRight")
    gallery.keyboard.press("ArrowRight")
    expect(gallery.locator(".tile:focus .tile-words")).to_have_text("a desert")
    gallery.keyboard.press("Enter")
    expect(gallery.locator(".lightbox-prompt")).to_have_text("a desert")
    gallery.keyboard.press("ArrowRight")
    expect(gallery.locator(".lightbox-prompt")).to_have_text("a pine forest")
    gallery.keyboard.press("ArrowLeft")
    gallery.keyboard.press("ArrowLeft")
    expect(gallery.locator(".lightbox-prompt")).to_have_text("a red moon")  # past the one that failed
    gallery.keyboard.press("Escape")
    expect(gallery.locator(".tile:focus .tile-words")).to_have_text("a desert")
    gallery.keyboard.press("End")
    expect(gallery.locator(".tile:focus .tile-words")).to_have_text("a red boat")


def test_the_lightbox_shows_metadata_and_closes_on_back(gallery: Page):
    pictures(gallery).filter(has_text="a red moon").click()
    box = gallery.locator("dialog.lightbox")
    for name, value in {"Model": "fixed", "Size": "256 × 256", "Seed": "77", "Steps": "7"}.items():
        expect(
            box.locator("dl div", has=gallery.locator("dt", has_text=re.compile(f"^{name}$"))).locator("dd")
        ).to_have_text(value)
    box.locator(".manifest summary").click()
    expect(box.locator(".manifest pre")).to_contain_text('"model_id": "fixed"')
    gallery.go_back()
    expect(box).to_be_hidden()
    expect(gallery.locator("#gallery-title")).to_be_visible()


def test_use_these_settings(gallery: Page):
    pictures(gallery).filter(has_text="a red boat").click()
    gallery.get_by_role("button", name="Use these settings").click()
    expect(gallery.locator("#prompt")).to_be_focused()
    expect(gallery.locator("#prompt")).to_have_value("a red boat")
    expect(gallery.locator("#seed")).to_have_value("1")
    expect(gallery.locator("#steps-value")).to_have_text("5")
    expect(gallery.locator("#model")).to_have_value("painter")


def test_variations_keep_everything_but_the_seed(new_page: Callable[..., Page], harness: Harness):
    harness.made("a red boat", seed=1, num_inference_steps=5, width=320)
    page = new_page(f"{harness.url}/#/gallery")
    pictures(page).first.click()
    with page.expect_request("**/api/generate") as request:
        page.get_by_role("button", name="Variations").click()
    body = request.value.post_data_json
    assert body["prompt"] == "a red boat"
    assert (body["settings"]["seed"], body["settings"]["num_inference_steps"], body["settings"]["width"]) == (
        -1,
        5,
        320,
    )
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_copy_and_download(gallery: Page):
    gallery.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pictures(gallery).filter(has_text="a red boat").click()
    choose_work(gallery, "Copy prompt")
    expect(gallery.locator(".toast")).to_contain_text("Prompt copied")
    assert gallery.evaluate("navigator.clipboard.readText()") == "a red boat"
    with gallery.expect_download() as download:
        gallery.get_by_role("button", name="Download").click()
    assert re.fullmatch(r"cyberimage-\d{8}-\d{6}-[0-9a-f]{8}\.png", download.value.suggested_filename)


def test_a_dropped_cyberimage_png_restores_its_settings(gallery: Page, filled_harness: Harness, tmp_path: Path):
    items = filled_harness.call("/api/images?search=moon")["images"]
    picture = tmp_path / "moon.png"
    with urllib.request.urlopen(filled_harness.url + items[0]["url"]) as response:
        picture.write_bytes(response.read())
    gallery.evaluate("location.hash = '#/'")
    data = list(picture.read_bytes())
    drop = """([bytes, kind]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "moon.png", { type: "image/png" }));
      const about = { dataTransfer: transfer, bubbles: true, cancelable: true };
      for (const name of [kind, "drop"]) document.body.dispatchEvent(new DragEvent(name, about));
    }"""
    gallery.evaluate(drop, [data, "dragenter"])
    expect(gallery.locator("#prompt")).to_have_value("a red moon")
    expect(gallery.locator("#model")).to_have_value("fixed")
    expect(gallery.locator("#seed")).to_have_value("77")
    expect(gallery.locator("#drop")).to_be_hidden()

    chunk_of_parameters_only = [*data]
    at = picture.read_bytes().index(b"cyberimage\0")
    chunk_of_parameters_only[at : at + 10] = list(b"otherthing")
    gallery.fill("#prompt", "")
    gallery.evaluate(drop, [chunk_of_parameters_only, "dragenter"])
    expect(gallery.locator("#prompt")).to_have_value("a red moon")
    expect(gallery.locator("#seed")).to_have_value("77")

    gallery.set_input_files("#file", {"name": "other.png", "mimeType": "image/png", "buffer": b"not a picture"})
    expect(gallery.locator(".toast[data-kind=error]")).to_contain_text("not an image that this browser can read")
    expect(gallery.locator("#prompt")).to_have_value("a red moon")


class Three:
    """A gallery filtered to three images, to delete from."""

    def __init__(self, harness: Harness, new_page: Callable[..., Page]) -> None:
        self.harness, self.search_term = harness, f"word{next(_numbers)}"
        for seed in (1, 2, 3):
            harness.made(f"{self.search_term} picture {seed}", seed=seed, num_inference_steps=4)
        self.page = new_page(f"{harness.url}/#/gallery")
        self.narrow()

    def narrow(self, count: int = 3) -> None:
        self.page.get_by_label("Search the prompts").fill(self.search_term)
        expect(pictures(self.page)).to_have_count(count)

    def left(self) -> list[str]:
        items = self.harness.call(f"/api/images?search={self.search_term}")["images"]
        return [item["prompt"].removeprefix(f"{self.search_term} ") for item in items]


_numbers = itertools.count()


@pytest.fixture
def three(harness: Harness, new_page: Callable[..., Page]) -> Three:
    return Three(harness, new_page)


def test_deleting_can_be_undone(three: Three):
    page = three.page
    pictures(page).first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".lightbox-prompt")).to_have_text(f"{three.search_term} picture 2")
    page.get_by_role("button", name="Undo").click()
    page.keyboard.press("Escape")
    expect(pictures(page)).to_have_count(3)
    pictures(page).first.focus()
    page.keyboard.press("Delete")
    expect(pictures(page)).to_have_count(2)
    wait_until(lambda: three.left() == ["picture 2", "picture 1"], "it was never deleted")
    page.reload()
    three.narrow(2)


def test_several_are_selected_and_deleted(three: Three):
    page = three.page
    page.get_by_role("button", name="Select").click()
    pictures(page).nth(0).click()
    pictures(page).nth(2).click(modifiers=["Shift"])
    expect(page.locator(".selection-bar p")).to_have_text("3 pictures selected")
    pictures(page).nth(1).click()
    expect(page.locator(".selection-bar p")).to_have_text("2 pictures selected")
    expect(pictures(page).nth(0)).to_have_attribute("aria-checked", "true")
    page.locator(".selection-bar").get_by_role("button", name="Delete").click()
    expect(pictures(page)).to_have_count(1)
    page.goto("about:blank")  # leaving does not wait for the notice
    wait_until(lambda: three.left() == ["picture 2"], "they were never deleted")

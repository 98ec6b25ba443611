"""Several input pictures of one request: added, removed and reordered, by mouse, keyboard and touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work
from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, violations
from tests.browser.test_start import a_photograph, generate, sent_by

EDITOR = (
    "editor;builtin;Changes pictures;local;false;"
    '{"tasks": ["txt2img", "edit"], "steps": {"min": 4, "max": 40, "default": 4}, "limits": {"max_input_images": 3}}'
)


@pytest.fixture
def editing(new_harness: Callable[..., Harness]) -> Harness:
    return new_harness(MODEL_EDITOR=EDITOR, DEFAULT_MODEL_ID="editor").open()


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    return [a_photograph(tmp_path / f"{name}.png", width=40 + 8 * n) for n, name in enumerate(("one", "two", "three"))]


def names(page: Page) -> list[str]:
    found: list[str] = page.locator("#input-list img").evaluate_all("images => images.map(image => image.alt)")
    return found


def expect_names(page: Page, *wanted: str) -> None:
    images = page.locator("#input-list img")
    expect(images).to_have_count(len(wanted))
    for at, name in enumerate(wanted):
        expect(images.nth(at)).to_have_attribute("alt", name)


def add(page: Page, *files: Path) -> None:
    page.get_by_label("Pictures to add").set_input_files(files)


def begun(new_page: Callable[..., Page], editing: Harness, photographs: list[Path], **options: Any) -> Page:
    """A page with all three in the list."""
    page = new_page(editing.url, **options)
    page.locator("#file").set_input_files(photographs[0])
    expect_names(page, "one.png")
    add(page, *photographs[1:])
    expect_names(page, "one.png", "two.png", "three.png")
    return page


def act(page: Page, label: str, at: int) -> Any:
    return page.locator("#input-list li").nth(at).locator(f"[data-act={label.lower()}]")


def widths(page: Page, body: dict[str, Any]) -> list[int]:
    """Of the pictures sent, in their order."""
    size = "src => new Promise(ok => { const i = new Image(); i.onload = () => ok(i.width); i.src = src; })"
    return [page.evaluate(size, each["source"]) for each in body["inputs"]]


def test_pictures_are_added_up_to_the_limit_and_sent_in_their_order(new_page, editing, photographs):
    page = begun(new_page, editing, photographs)
    expect(page.locator("#input-count")).to_contain_text("3 of 3")
    for button in ("#input-add", "#input-pick"):
        expect(page.locator(button)).to_be_disabled()
    body = generate(page)
    assert [each["role"] for each in body["inputs"]] == ["image", "reference", "reference"]
    assert widths(page, body) == [40, 48, 56]
    assert "image" not in body
    assert "strength" not in body["settings"]
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_a_picture_is_edited_by_instruction(new_page, editing):
    made = editing.made("a green hill", seed=5, num_inference_steps=4)["images"][0]["image_id"]
    page = new_page(f"{editing.url}/#/gallery?picture={made}")
    choose_work(page, "Edit by instruction")
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator("#prompt")).to_have_value("")
    body = generate(page, "make it winter")
    assert (body["model_id"], body["image"], body["prompt"]) == ("editor", made, "make it winter")
    assert "strength" not in body["settings"]
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_they_are_reordered_and_removed_by_the_keyboard_and_the_focus_stays(new_page, editing, photographs):
    page = begun(new_page, editing, photographs)
    act(page, "Later", 0).focus()
    page.keyboard.press("Enter")
    expect_names(page, "two.png", "one.png", "three.png")
    expect(act(page, "Later", 1)).to_be_focused()
    page.keyboard.press("Space")
    expect_names(page, "two.png", "three.png", "one.png")
    expect(act(page, "Earlier", 2)).to_be_focused()  # there is no later place
    expect(page.locator("#announcer")).to_have_text("Picture 2 is now picture 3.")
    act(page, "Remove", 1).focus()
    page.keyboard.press("Enter")
    expect_names(page, "two.png", "one.png")
    expect(act(page, "Remove", 1)).to_be_focused()
    expect(page.locator("#input-add")).to_be_enabled()
    assert widths(page, generate(page)) == [48, 40]
    for _ in range(2):
        act(page, "Remove", 0).click()
    expect(page.locator("#start")).to_be_hidden()
    expect(page.locator("#prompt")).to_be_focused()
    assert not {"image", "inputs"} & set(generate(page))


def test_one_picture_alone_is_sent_as_the_image(new_page, editing, photographs):
    page = new_page(editing.url)
    page.locator("#file").set_input_files(photographs[0])
    expect_names(page, "one.png")
    body = generate(page)
    assert body["image"].startswith("data:image/")
    assert "inputs" not in body


def test_a_picture_of_the_gallery_joins_them_and_variations_keep_all(new_page, editing, photographs):
    made = [editing.made(f"a hill {n}", model_id="painter", num_inference_steps=4)["images"][0] for n in range(2)]
    page = new_page(f"{editing.url}/#/gallery")
    for at in (0, 1):
        page.locator(".grid a.tile").nth(at).click()
        choose_work(page, "Start from this")
        expect(page.locator("#input-list li")).to_have_count(at + 1)
        page.evaluate("location.hash = '#/gallery'")
    page.evaluate("location.hash = '#/'")
    newest_first = [image["image_id"] for image in reversed(made)]
    body = generate(page)
    assert [each["source"] for each in body["inputs"]] == newest_first
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    again = sent_by(page, page.locator("#job-panel").get_by_role("button", name="Variations").click)
    assert again["inputs"] == body["inputs"]


def test_another_model_uses_the_first_ones_and_they_are_kept(new_page, editing, photographs):
    page = begun(new_page, editing, photographs)
    page.select_option("#model", "painter")
    expect(page.locator("#input-count")).to_have_text("The model uses the first one.")
    expect(page.locator("#input-list li[data-used=false]")).to_have_count(2)
    body = generate(page)
    assert body["image"].startswith("data:image/")
    assert body["settings"]["strength"] == 0.75
    page.select_option("#model", "editor")
    expect_names(page, "one.png", "two.png", "three.png")
    assert len(generate(page)["inputs"]) == 3


def test_several_dropped_files_are_all_taken(new_page, editing, photographs):
    page = new_page(editing.url)
    data = page.evaluate_handle(
        """files => {
             const data = new DataTransfer();
             for (const [name, bytes] of files)
               data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
             return data;
           }""",
        [[file.name, list(file.read_bytes())] for file in photographs[:2]],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect_names(page, "one.png", "two.png")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_on_a_phone_they_are_touched_and_nothing_overflows(new_page, editing, photographs, axe, theme):
    page = begun(new_page, editing, photographs, reduced_motion="reduce", **PHONE)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    act(page, "Earlier", 2).tap()
    expect_names(page, "one.png", "three.png", "two.png")
    act(page, "Remove", 0).tap()
    expect_names(page, "three.png", "two.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page, axe) == []

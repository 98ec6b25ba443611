"""Input images: from the gallery, or dropped; only for models that support them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work
from tests.browser.harness import Harness


def sent_by(page: Page, act: Callable[[], None]) -> dict[str, Any]:
    with page.expect_request("**/api/generate") as request:
        act()
    expect(page.locator("#generate")).not_to_have_attribute("aria-busy", "true")
    return request.value.post_data_json


def generate(page: Page, prompt: str = "the same in autumn") -> dict[str, Any]:
    page.locator("#prompt").fill(prompt)
    return sent_by(page, page.locator("#generate").click)


def a_photograph(path: Path, width: int = 64, height: int = 48) -> Path:
    path.write_bytes(encoded(width, height))
    return path


def encoded(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(file, "PNG")
    return file.getvalue()


def test_a_gallery_image_as_input_image(new_page: Callable[..., Page], harness: Harness):
    made = harness.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
    page = new_page(f"{harness.url}/#/gallery")
    page.locator(".grid a.tile").first.click()
    choose_work(page, "Start from this")
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#start-picture")).to_have_attribute("src", made["thumbnail_url"])
    page.locator("#strength").fill("0.5")
    expect(page.locator("#strength-value")).to_have_text("50 %")
    body = generate(page)
    assert (body["image"], body["settings"]["strength"]) == (made["image_id"], 0.5)
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    newest = harness.call("/api/images?limit=1")["images"][0]
    manifest = harness.call(newest["metadata_url"])["manifest"]
    assert (manifest["inputs"]["image"]["image_id"], manifest["settings"]["strength"]) == (made["image_id"], 0.5)


def test_variations_keep_the_input_image(new_page: Callable[..., Page], harness: Harness):
    made = harness.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
    page = new_page(harness.url)
    page.evaluate("location.hash = '#/gallery'")
    page.locator(".grid a.tile").first.click()
    choose_work(page, "Start from this")
    expect(page.locator("#start")).to_be_visible()
    generate(page)
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    body = sent_by(page, page.locator("#job-panel").get_by_role("button", name="Variations").click)
    assert (body["image"], body["settings"]["strength"], body["settings"]["seed"]) == (made["image_id"], 0.75, -1)


def test_a_foreign_image_is_an_input_image_and_large_ones_are_scaled_down(
    new_page: Callable[..., Page], harness: Harness, tmp_path: Path
):
    page = new_page(harness.url)
    page.locator("#file").set_input_files(a_photograph(tmp_path / "beach.png", 4000, 1000))
    expect(page.locator("#start-picture")).to_have_attribute("alt", "beach.png")
    body = generate(page)
    assert body["image"].startswith("data:image/")
    size = "src => new Promise(ok => { const i = new Image(); i.onload = () => ok([i.width, i.height]); i.src = src; })"
    assert page.evaluate(size, body["image"]) == [1536, 384]
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_a_file_that_is_not_an_image_is_refused(new_page: Callable[..., Page], harness: Harness, tmp_path: Path):
    page = new_page(harness.url)
    (tmp_path / "notes.png").write_text("no picture")
    page.locator("#file").set_input_files(tmp_path / "notes.png")
    expect(page.locator(".toast")).to_contain_text("not an image that this browser can read")
    expect(page.locator("#start")).to_be_hidden()


def test_the_input_image_is_sent_only_to_models_that_support_it(
    new_page: Callable[..., Page], harness: Harness, tmp_path: Path
):
    page = new_page(harness.url)
    page.locator("#file").set_input_files(a_photograph(tmp_path / "beach.png"))
    page.locator("#model").select_option("fixed")
    expect(page.locator("#start-note")).to_contain_text("cannot start from a picture")
    expect(page.locator("#strength")).to_be_disabled()
    body = generate(page)
    assert "image" not in body
    assert "strength" not in body["settings"]
    page.locator("#model").select_option("painter")
    assert "image" in generate(page)
    page.get_by_role("button", name="Start from nothing").click()
    expect(page.locator("#start")).to_be_hidden()
    assert "image" not in generate(page)

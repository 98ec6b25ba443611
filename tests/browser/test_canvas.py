"""The canvas: masks by mouse, keys, fingers and pen; repainting, extending, comparing, and masks that come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import a_word, made, open_gallery, pictures, repainted
from tests.browser.harness import Harness
from tests.browser.test_lightbox import Fingers
from tests.browser.test_quality import PHONE, violations
from tests.waiting import wait_until

# How much of the mask is painted, of 1; how much of it at a place, of 255.
SHARE = """canvas => {
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (let at = 3; at < data.length; at += 4) sum += data[at];
  return sum / 255 / (canvas.width * canvas.height);
}"""


def painted(page: Page) -> float:
    share: float = page.locator(".canvas-mask").evaluate(SHARE)
    return share


@pytest.fixture
def canvas(new_page: Callable[..., Page], studio: Harness) -> Page:
    return opened(new_page(studio.url), studio)


def opened(page: Page, studio: Harness) -> Page:
    word = a_word()
    made(studio, word, 1)
    open_gallery(page, studio, word, 1)
    pictures(page).first.click()
    page.locator("dialog.lightbox").get_by_role("button", name="Repaint a part").click()
    expect(page.locator(".canvas-box")).to_be_focused()
    return page


def middle(page: Page) -> tuple[float, float]:
    box = page.locator(".canvas-box").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def stroke(page: Page, length: float = 160) -> None:
    x, y = middle(page)
    page.mouse.move(x - length / 2, y)
    page.mouse.down()
    page.mouse.move(x + length / 2, y, steps=6)
    page.mouse.up()


def press(page: Page, name: str) -> None:
    page.locator(".canvas-tools").get_by_role("button", name=name).click()


def test_brush_eraser_undo_redo_invert_and_clear(canvas: Page):
    stroke(canvas)
    once = painted(canvas)
    assert once > 0.005
    canvas.keyboard.press("e")
    stroke(canvas, 60)
    less = painted(canvas)
    assert 0 < less < once
    canvas.keyboard.press("Control+z")
    assert painted(canvas) == pytest.approx(once, abs=1e-6)
    canvas.keyboard.press("Control+Shift+z")
    assert painted(canvas) == pytest.approx(less, abs=1e-6)
    press(canvas, "Invert")
    assert painted(canvas) == pytest.approx(1 - less, abs=0.01)
    press(canvas, "Clear")
    assert painted(canvas) == 0
    for _ in range(3):
        press(canvas, "Undo")
    assert painted(canvas) == pytest.approx(once, abs=1e-6)


def test_the_size_by_wheel_keys_and_slider(canvas: Page):
    slider = canvas.get_by_label("Size of the brush")
    sizes = [float(slider.input_value())]
    canvas.keyboard.press("]")
    sizes.append(float(slider.input_value()))
    canvas.mouse.move(*middle(canvas))
    canvas.mouse.wheel(0, -300)
    sizes.append(float(slider.input_value()))
    assert sizes == sorted(set(sizes))
    canvas.keyboard.press("[")
    assert float(slider.input_value()) < sizes[-1]
    stroke(canvas)
    small = painted(canvas)
    press(canvas, "Clear")
    slider.fill("95")
    stroke(canvas)
    assert painted(canvas) > 2 * small


def test_the_lasso_fills_what_it_surrounds(canvas: Page):
    canvas.keyboard.press("l")
    x, y = middle(canvas)
    canvas.mouse.move(x - 80, y - 80)
    canvas.mouse.down()
    for place in ((x + 80, y - 80), (x + 80, y + 80), (x - 80, y + 80), (x - 80, y - 60)):
        canvas.mouse.move(*place, steps=4)
    canvas.mouse.up()
    scale = canvas.locator(".canvas-content").evaluate("node => node.getBoundingClientRect().width / node.offsetWidth")
    assert painted(canvas) == pytest.approx((160 / scale / 256) ** 2, rel=0.1)


def test_the_keyboard_alone_paints_and_repaints(canvas: Page, studio: Harness):
    canvas.keyboard.press("Space")
    for _ in range(6):
        canvas.keyboard.press("ArrowRight")
    canvas.keyboard.press("Space")
    assert painted(canvas) > 0.005
    canvas.locator("#canvas-prompt").focus()
    canvas.keyboard.press("Control+a")
    canvas.keyboard.type("a lighthouse")
    with canvas.expect_request("**/api/generate") as request:
        canvas.keyboard.press("Control+Enter")
    assert request.value.post_data_json["prompt"] == "a lighthouse"
    expect(canvas.locator(".compare input")).to_be_focused()


def test_the_wheel_zooms_with_ctrl_and_the_hand_moves(canvas: Page):
    content = canvas.locator(".canvas-content")
    before = content.bounding_box()
    canvas.mouse.move(*middle(canvas))
    canvas.keyboard.down("Control")
    canvas.mouse.wheel(0, -100)
    canvas.keyboard.up("Control")
    larger = content.bounding_box()
    assert larger["width"] > before["width"] * 1.5
    canvas.keyboard.press("h")
    stroke(canvas, 100)
    moved = content.bounding_box()
    assert moved["x"] - larger["x"] == pytest.approx(100, abs=3)
    assert painted(canvas) == 0
    canvas.keyboard.press("0")
    assert content.bounding_box()["width"] == pytest.approx(before["width"], abs=2)


def test_a_finger_paints_and_two_move_the_picture(new_page: Callable[..., Page], studio: Harness):
    page = opened(new_page(studio.url, **PHONE), studio)
    x, y = middle(page)
    fingers = Fingers(page)
    fingers.down((x - 40, y))
    for step in (-10, 20, 40):
        fingers.move((x + step, y))
    fingers.up()
    once = painted(page)
    assert once > 0.005
    width = page.locator(".canvas-content").bounding_box()["width"]
    fingers.down((x - 30, y + 40))
    fingers.down((x - 30, y + 40), (x + 30, y + 40))
    for spread in (10, 30, 50):
        fingers.move((x - 30 - spread, y + 40), (x + 30 + spread, y + 40))
    fingers.up()
    assert page.locator(".canvas-content").bounding_box()["width"] > width
    assert painted(page) == pytest.approx(once, abs=1e-6)  # the first finger's dot was taken back


def test_a_pen_paints_as_wide_as_it_is_pressed(canvas: Page):
    widths = canvas.evaluate(
        """async () => {
          const { Mask } = await import("/static/js/canvas/mask.js");
          const { Brush } = await import("/static/js/canvas/brush.js");
          const { Viewport } = await import("/static/js/viewport.js");
          const box = document.createElement("div"), content = document.createElement("div");
          Object.assign(box.style, { position: "fixed", inset: "0", zIndex: "-1" });
          box.append(content);
          document.querySelector("dialog[open]").append(box);
          const mask = new Mask(200, 200);
          const viewport = new Viewport(box, content);
          viewport.show(200, 200);
          const brush = new Brush(box, viewport, () => mask, () => {});
          const rect = box.getBoundingClientRect();
          const dot = (pressure, x, y) => {
            const [left, top] = [rect.left + viewport.x, rect.top + viewport.y];
            const place = { clientX: left + x * viewport.scale, clientY: top + y * viewport.scale };
            const about = { pointerId: 9, pointerType: "pen", pressure, bubbles: true, buttons: 1, ...place };
            box.setPointerCapture = () => {};
            for (const name of ["pointerdown", "pointerup"]) box.dispatchEvent(new PointerEvent(name, about));
          };
          dot(0.1, 50, 100);
          dot(1, 150, 100);
          const row = mask.context.getImageData(0, 100, 200, 1).data;
          const opaque = Array.from({ length: 200 }, (_, x) => row[4 * x + 3] > 127);
          const count = (from, to) => opaque.slice(from, to).filter(Boolean).length;
          box.remove();
          return [count(0, 100), count(100, 200), brush.size];
        }"""
    )
    light, heavy, size = widths
    assert heavy == pytest.approx(size, abs=2)
    assert light == pytest.approx(0.28 * size, abs=2)


def test_a_part_is_repainted_and_compared_and_painted_on(canvas: Page, studio: Harness):
    stroke(canvas)
    canvas.locator("#canvas-prompt").fill("a lighthouse")
    canvas.locator("#canvas-feather").fill("10")
    canvas.locator("#canvas-strength").fill("0.8")
    with canvas.expect_request("**/api/generate") as request:
        canvas.locator(".canvas-side .primary").click()
    body = request.value.post_data_json
    assert body["mask"].startswith("data:image/png;base64,")
    assert len(body["image"]) == 32
    settings = body["settings"]
    assert (settings["strength"], settings["mask_blur"], settings["seed"]) == (0.8, 10, -1)
    assert "inpaint_area" not in settings
    white = canvas.evaluate(
        """uri => new Promise(resolve => {
          const image = new Image();
          image.onload = () => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.width, image.height];
            const context = canvas.getContext("2d", { willReadFrequently: true });
            context.drawImage(image, 0, 0);
            const at = (x, y) => [...context.getImageData(x, y, 1, 1).data];
            resolve([image.width, image.height, at(128, 128), at(2, 2)]);
          };
          image.src = uri;
        })""",
        body["mask"],
    )
    assert white == [256, 256, [255] * 4, [0, 0, 0, 255]]
    expect(canvas.locator(".compare")).to_be_visible()
    expect(canvas.locator(".canvas-results li")).to_have_count(2)
    canvas.get_by_role("button", name="Go on with this result").click()
    expect(canvas.locator(".canvas-box")).to_be_focused()
    assert painted(canvas) == 0
    stroke(canvas, 40)
    canvas.locator("#canvas-only").check()
    with canvas.expect_request("**/api/generate") as request:
        canvas.locator(".canvas-side .primary").click()
    again = request.value.post_data_json
    assert again["image"] != body["image"]
    assert again["settings"]["inpaint_area"] == "masked"
    assert again["settings"]["inpaint_padding"] == 32
    expect(canvas.locator(".compare")).to_be_visible()


def test_what_is_missing_is_said(canvas: Page):
    canvas.locator(".canvas-side .primary").click()
    expect(canvas.locator(".canvas-side .form-error")).to_contain_text("Paint over the part")
    canvas.locator(".canvas .segments label", has_text="Extend").click()
    canvas.locator(".canvas-side .primary").click()
    expect(canvas.locator(".canvas-side .form-error")).to_contain_text("Drag a side")
    canvas.locator("#canvas-prompt").fill(" ")
    canvas.locator(".canvas-side .primary").click()
    expect(canvas.locator(".canvas-side .form-error")).to_contain_text("Say what should be there")


def test_a_mask_is_kept_with_its_picture_and_can_be_changed(new_page: Callable[..., Page], studio: Harness):
    word = a_word()
    source, _ = repainted(studio, word)
    page = new_page(f"{studio.url}/#/gallery?search={word} repainted")
    pictures(page).first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    expect(page.locator(".manifest")).to_be_visible()
    page.locator("dialog.lightbox").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Change the mask it was made with").click()
    expect(page.locator(".canvas-box")).to_be_focused()
    assert painted(page) == pytest.approx((81 / 256) ** 2, rel=0.05)
    stroke(page)
    more = painted(page)
    page.locator(".canvas-close").click()
    page.locator(".tabs a", has_text="Create").click()
    with page.expect_request("**/api/generate") as request:
        page.evaluate(
            """async source => {
              const { open } = await import("/static/js/canvas/dialog.js");
              const url = `/api/image/${source}`;
              await open({ image_id: source, url, prompt: "again", metadata_url: `${url}/metadata` });
              document.querySelector(".canvas-side .primary").click();
            }""",
            source,
        )
    assert painted(page) == pytest.approx(more, abs=0.01)  # what was left without sending is there again
    assert request.value.post_data_json["image"] == source
    expect(page.locator(".compare")).to_be_visible()


def test_the_frame_is_dragged_typed_and_moved_by_keys(canvas: Page, studio: Harness):
    canvas.locator(".canvas .segments label", has_text="Extend").click()
    handle = canvas.locator("[data-handle=right]").bounding_box()
    scale = canvas.locator(".canvas-content").evaluate("node => node.getBoundingClientRect().width / node.offsetWidth")
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    canvas.mouse.move(x, y)
    canvas.mouse.down()
    canvas.mouse.move(x + 64 * scale, y, steps=5)
    canvas.mouse.up()
    expect(canvas.locator("#canvas-right")).to_have_value("64")
    canvas.locator("[data-handle=top]").focus()
    canvas.keyboard.press("ArrowUp")
    expect(canvas.locator("#canvas-top")).to_have_value("8")
    canvas.locator("#canvas-left").fill("900")
    canvas.locator("#canvas-left").press("Tab")
    expect(canvas.locator("#canvas-left")).to_have_value("192")  # 512 is the most that the model draws
    canvas.locator("#canvas-left").fill("0")
    canvas.locator("#canvas-left").press("Tab")
    expect(canvas.locator(".canvas-side legend .value")).to_have_text("320 × 264")
    canvas.locator("#canvas-prompt").fill("more of it")
    with canvas.expect_request("**/api/generate") as request:
        canvas.locator(".canvas-side .primary").click()
    body = request.value.post_data_json
    assert body["inputs"][0]["extend"] == {"left": 0, "top": 8, "right": 64, "bottom": 0}
    assert "mask" not in body
    expect(canvas.locator(".compare")).to_be_visible()
    natural = "image => [image.naturalWidth, image.naturalHeight]"
    wait_until(lambda: canvas.locator(".compare-after").evaluate(natural) == [320, 264], "it has another size")


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(new_page: Callable[..., Page], studio: Harness, axe: str, options: dict[str, Any]):
    page = opened(new_page(studio.url, reduced_motion="reduce", **options), studio)
    faults = {"repaint": violations(page, axe)}
    page.locator(".canvas .segments label", has_text="Extend").click()
    faults["extend"] = violations(page, axe)
    page.locator("#canvas-right").fill("64")
    page.locator("#canvas-right").press("Tab")
    page.locator(".canvas-side .primary").click()
    expect(page.locator(".compare")).to_be_visible()
    faults["compare"] = violations(page, axe)
    assert not any(faults.values()), faults
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

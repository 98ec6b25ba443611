"""Faults that the page once had: nothing is lost, hidden or sent otherwise than it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import a_word, choose_work, found, made, multiply, open_gallery, pictures, repainted
from tests.browser.harness import Harness
from tests.browser.test_start import a_photograph, generate
from tests.waiting import wait_until

MANY = 1560


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(tmp_path_factory.mktemp("many")) as harness:
        harness.open().made("the only picture", seed=5, num_inference_steps=4)
        multiply(harness.folder / "cyberimage.sqlite", MANY)
        yield harness


@pytest.fixture
def page(new_page: Callable[..., Page], studio: Harness) -> Page:
    studio.quiet()
    return new_page(studio.url)


def open_lightbox(page: Page, studio: Harness, word: str) -> None:
    page.goto(f"{studio.url}/#/gallery?search={word} repainted")
    pictures(page).first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()


# --- pictures and masks travel ----------------------------------------------------------------------------------------


def test_variations_of_a_repainted_picture_repaint_the_same_part(page: Page, studio: Harness):
    word = a_word()
    source, _ = repainted(studio, word)
    open_lightbox(page, studio, word)
    with page.expect_request("**/api/generate") as request:
        page.locator("dialog.lightbox").get_by_role("button", name="Variations").click()
    body = request.value.post_data_json
    assert body["image"] == source
    assert body["mask"].startswith("data:image/png;base64,")
    assert (body["settings"]["strength"], body["settings"]["seed"]) == (0.9, -1)
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_use_these_settings_brings_picture_mask_and_strength_back(page: Page, studio: Harness):
    word = a_word()
    source, _ = repainted(studio, word, mask_blur=6, inpaint_area="masked")
    open_lightbox(page, studio, word)
    page.locator("dialog.lightbox").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#start-mask")).to_be_visible()
    expect(page.locator("#strength-value")).to_have_text("90 %")
    body = generate(page, f"{word} again")
    assert body["image"] == source
    assert body["mask"].startswith("data:image/png;base64,")
    settings = body["settings"]
    assert (settings["strength"], settings["mask_blur"], settings["inpaint_area"]) == (0.9, 6, "masked")
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()


def test_a_mask_is_not_dropped_in_silence(page: Page, studio: Harness):
    word = a_word()
    repainted(studio, word)
    open_lightbox(page, studio, word)
    page.locator("dialog.lightbox").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#start-mask")).to_be_visible()
    page.locator("#model").select_option("painter")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_contain_text("painter cannot repaint a part")


def test_a_start_picture_is_not_cut_to_the_size_of_the_form(page: Page, tmp_path: Path):
    page.locator("#file").set_input_files(a_photograph(tmp_path / "tall.png", 90, 160))
    expect(page.locator("#size-value")).to_contain_text("as the picture")
    body = generate(page)
    assert "width" not in body["settings"]
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    width, height = page.locator("#job-panel .picture img").evaluate(
        "image => [image.naturalWidth, image.naturalHeight]"
    )
    assert width < height
    page.locator("#sizes label", has_text="1:1").click()
    assert generate(page)["settings"]["width"] == 256  # what is chosen on purpose is sent
    page.locator("#start-clear").click()
    expect(page.locator("#sizes label", has_text="Picture")).to_have_count(0)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_one_undo_brings_back_all_that_was_deleted_in_a_row(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 5)
    open_gallery(page, studio, word, 5)
    for left in (4, 3, 2, 1):
        pictures(page).first.focus()
        page.keyboard.press("Delete")
        expect(pictures(page)).to_have_count(left)
    wait_until(lambda: len(found(studio, word)) == 1, "they are not in the bin")
    expect(page.locator(".toast")).to_have_count(1)
    expect(page.locator(".toast")).to_contain_text("4 pictures deleted")
    page.get_by_role("button", name="Undo").click()
    expect(pictures(page)).to_have_count(5)
    assert found(studio, word) == pictures(page).evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")


def test_all_of_the_filter_are_deleted_by_one_request_after_a_question(new_page: Callable[..., Page], crowded: Harness):
    page = new_page(f"{crowded.url}/#/gallery")
    expect(page.locator(".gallery-total")).to_have_text(f"{MANY:,} pictures")
    sent: list[str] = []
    page.on("request", lambda request: request.method in ("POST", "DELETE") and sent.append(request.url))
    page.get_by_role("button", name="Select").click()
    page.locator(".selection-bar").get_by_role("button", name="All").click()
    expect(page.locator(".selection-bar p")).to_have_text(f"{MANY:,} pictures selected")
    page.locator(".selection-bar").get_by_role("button", name="Delete").click()
    asked = page.get_by_role("alertdialog")
    expect(asked).to_contain_text(f"Delete {MANY:,} pictures?")
    asked.get_by_role("button", name="Cancel").click()
    expect(page.locator(".selection-bar p")).to_have_text(f"{MANY:,} pictures selected")
    page.locator(".selection-bar").get_by_role("button", name="Delete").click()
    asked.get_by_role("button", name="Delete").click()
    expect(page.locator(".nothing")).to_be_visible()
    wait_until(lambda: crowded.call("/status")["images"]["count"] == 0, "they are still there")
    page.get_by_role("button", name="Undo").click()
    wait_until(lambda: crowded.call("/status")["images"]["count"] == MANY, "they did not come back")
    expect(pictures(page).first).to_be_visible()
    assert [url.rpartition("/")[2] for url in sent] == ["actions", "actions"]


def test_deleting_one_leaves_the_other_tiles_as_they_are(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 4)
    open_gallery(page, studio, word, 4)
    expect(page.locator(".grid img.there")).to_have_count(4)
    pictures(page).evaluate_all("tiles => tiles.forEach(tile => (tile.wasHere = true))")
    pictures(page).first.focus()
    page.keyboard.press("Delete")
    expect(pictures(page)).to_have_count(3)
    assert pictures(page).evaluate_all("tiles => tiles.every(tile => tile.wasHere)")


# --- the stage --------------------------------------------------------------------------------------------------------


def test_each_picture_of_a_job_has_its_own_actions(page: Page, studio: Harness):
    word = a_word()
    page.locator("#prompt").fill(f"{word} twice")
    page.locator("#count label", has_text="2").click()
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_have_count(2)
    second = page.locator("#job-panel .cell").nth(1)
    second.hover()
    second.get_by_role("button", name="Delete: picture 2").click()
    expect(page.locator("#job-panel .picture")).to_have_count(1)
    wait_until(lambda: len(found(studio, word)) == 1, "it is still there")
    kept = page.locator("#job-panel .picture img").get_attribute("src")
    assert kept is not None
    assert found(studio, word)[0] in kept
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#job-panel .picture")).to_have_count(2)


def test_a_finished_picture_stays_large_while_the_series_goes_on(page: Page, studio: Harness):
    word = a_word()
    page.locator("#steps").fill("4")
    page.locator("#prompt").fill(f"{word} first, slow")
    page.locator("#generate").click()
    expect(page.locator("#generate")).not_to_have_attribute("aria-busy", "true")
    page.locator("#steps").fill("40")
    page.locator("#prompt").fill(f"{word} second, endless")
    page.locator("#generate").click()
    expect(page.locator(".strip-item")).to_have_count(2)
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    expect(page.locator(".strip-item").first).to_have_attribute("data-status", "PROCESSING")
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text(f"{word} first, slow")
    expect(page.locator(".strip-item").first).to_be_in_viewport()
    page.locator(".strip-item").first.click()
    page.get_by_role("button", name="Cancel").click()
    studio.quiet()


def test_a_second_window_shows_what_runs(page: Page, studio: Harness):
    page.locator("#steps").fill("40")
    page.locator("#prompt").fill("slow in two windows")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    other = page.context.new_page()
    other.goto(studio.url)
    expect(other.locator("#job-panel .job-panel-prompt")).to_have_text("slow in two windows")
    expect(other.locator("#job-panel .status-text")).to_contain_text("Step")
    page.evaluate("location.hash = '#/queue'")
    page.get_by_role("button", name="Cancel").first.click()
    expect(other.locator("#job-panel .failure")).to_be_visible()
    studio.quiet()


def test_without_a_connection_no_time_is_promised(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, forgive=True)
    page.locator("#steps").fill("40")
    page.locator("#prompt").fill("slow and offline")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .status-text")).to_contain_text("Step")
    page.context.set_offline(True)
    expect(page.locator("#job-panel .remaining")).to_have_text("no connection to the server")
    page.context.set_offline(False)
    expect(page.locator("#job-panel .remaining")).not_to_have_text("no connection to the server")
    page.get_by_role("button", name="Cancel").click()
    studio.quiet()


# --- views and the history --------------------------------------------------------------------------------------------


def test_a_view_that_could_not_be_loaded_can_be_had_again(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, forgive=True)
    page.route("**/js/virtual-grid.js", lambda route: route.abort())
    page.locator(".tabs a", has_text="Gallery").click()
    failed = page.locator("main > [data-view=gallery]")
    expect(failed).to_contain_text("could not be loaded")
    page.unroute("**/js/virtual-grid.js")
    expect(page.get_by_label("Search the prompts")).to_be_visible()  # by itself, as the server answers


def test_back_returns_to_the_place_in_the_gallery(new_page: Callable[..., Page], crowded: Harness):
    page = new_page(f"{crowded.url}/#/gallery")
    expect(pictures(page).first).to_be_visible()
    page.evaluate("scrollTo(0, 1800)")
    wait_until(lambda: page.evaluate("scrollY") == 1800, "it did not scroll")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # until it is told
    page.locator(".tabs a", has_text="Queue").click()
    expect(page.locator("#queue-title")).to_be_visible()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.locator("#gallery-title")).to_be_attached()
    wait_until(lambda: page.evaluate("scrollY") == 1800, "the place is lost")


def test_a_reload_in_the_lightbox_shows_the_picture_again_and_back_works(page: Page, studio: Harness):
    word = a_word()
    made(studio, word, 2)
    open_gallery(page, studio, word, 2)
    pictures(page).first.click()
    expect(page.locator(".lightbox-prompt")).to_have_text(f"{word} number 1")
    page.reload()
    expect(page.locator(".lightbox-prompt")).to_have_text(f"{word} number 1")
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()
    expect(pictures(page)).to_have_count(2)
    wait_until(lambda: "picture=" not in page.url, "the address still names the picture")
    page.go_back()  # to where the gallery was opened from: no entry is dead
    expect(page.locator("main > [data-view=create]")).to_be_visible()


# --- the form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [",".join(["masterpiece"] * 30), "https://example.org/" + "x" * 300])
def test_a_prompt_without_blanks_stays_in_its_column(page: Page, prompt: str):
    page.locator("#prompt").fill(prompt)
    column, box = (page.locator(name).bounding_box() for name in (".composer", ".prompt-box"))
    assert box["width"] <= column["width"]
    assert column["x"] + column["width"] <= page.locator(".results").bounding_box()["x"]


def test_a_waiting_request_is_sent_as_soon_as_the_server_is_back(page: Page):
    """Without the timers of its retries, which would send it after a while."""
    took = page.evaluate(
        """async () => {
          const { send } = await import("/static/js/send.js");
          const { statusPoll } = await import("/static/js/status-poll.js");
          const [fetched, timer] = [window.fetch, window.setTimeout];
          let answers = false, asked = 0;
          window.fetch = (url, options) => {
            if (options?.method === "POST") asked++;
            return options?.method === "POST" && !answers ? Promise.reject(new TypeError()) : fetched(url, options);
          };
          window.setTimeout = (run, wait, ...more) => (wait >= 700 ? 0 : timer(run, wait, ...more));
          const sent = send({ prompt: "back again", model_id: "painter", settings: { num_inference_steps: 4 } });
          while (!asked) await new Promise(requestAnimationFrame);
          answers = true;
          await new Promise(requestAnimationFrame);
          statusPoll.updated.emit({ checks: {}, ready: true, queue: {}, workers: [] });
          await sent;
          [window.fetch, window.setTimeout] = [fetched, timer];
          return asked;
        }"""
    )
    assert took == 2


def kept_fields(page: Page) -> dict[str, Any]:
    names = {"prompt": "#prompt", "seed": "#seed", "negative": "#negative", "guidance": "#guidance", "steps": "#steps"}
    fields = {name: page.locator(selector).input_value() for name, selector in names.items()}
    return fields | {
        "size": page.locator("#size-value").text_content(),
        "count": page.locator("#count input:checked").input_value(),
        "start": page.locator("#start").is_visible(),
    }


def test_a_reload_and_a_new_window_keep_the_whole_form(page: Page, studio: Harness, tmp_path: Path):
    page.locator("details.fine summary").click()
    page.locator("#prompt").fill("kept in the form")
    page.locator("#negative").fill("no people")
    page.locator("#seed").fill("4711")
    page.locator("#guidance").fill("7")
    page.locator("#steps").fill("9")
    page.locator("#count label", has_text="3").click()
    page.locator("#file").set_input_files(a_photograph(tmp_path / "start.png"))
    expect(page.locator("#start")).to_be_visible()
    page.locator("#sizes label", has_text="3:4").click()
    before = kept_fields(page)
    assert (before["count"], before["start"]) == ("3", True)
    page.reload()
    expect(page.locator("#seed")).to_have_value("4711")
    expect(page.locator("#start")).to_be_visible()
    assert kept_fields(page) == before
    other = page.context.new_page()
    other.goto(studio.url)
    expect(other.locator("#seed")).to_have_value("4711")
    expect(other.locator("#start")).to_be_visible()
    assert kept_fields(other) == before
    assert generate(other, "kept in the form")["settings"]["seed"] == 4711
    studio.quiet()


# --- looks ------------------------------------------------------------------------------------------------------------


def test_what_is_always_full_is_drawn_at_the_top_of_its_chart(page: Page):
    height = page.evaluate(
        """async () => {
          const { Chart } = await import("/static/js/chart.js");
          const chart = new Chart("Processor", { read: () => 100, word: String, floor: 100 });
          chart.draw([{ at: Date.now() - 5000, status: {} }, { at: Date.now(), status: {} }]);
          return Number(chart.line.getAttribute("d").split(",")[1].split("L")[0]);
        }"""
    )
    assert height < 20  # of 88, from the top


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_that_of_the_system_until_one_is_chosen(
    new_page: Callable[..., Page], studio: Harness, scheme: Any
):
    page = new_page(studio.url, color_scheme=scheme)
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", scheme)
    other = "dark" if scheme == "light" else "light"
    page.emulate_media(color_scheme=other)
    expect(root).to_have_attribute("data-theme", other)
    page.get_by_role("button", name="Change the theme").click()
    expect(root).to_have_attribute("data-theme", scheme)
    page.emulate_media(color_scheme=other)
    page.reload()
    expect(root).to_have_attribute("data-theme", scheme)


def test_a_size_is_named_by_the_common_ratio_that_it_is_near(page: Page):
    sizes = [[704, 384], [1344, 768], [1024, 1024], [832, 1216], [384, 704], [1000, 300]]
    named = page.evaluate(
        """async sizes => {
          const { shape } = await import("/static/js/format.js");
          return sizes.map(([w, h]) => shape(w, h));
        }""",
        sizes,
    )
    assert named == ["16:9", "16:9", "1:1", "2:3", "9:16", None]
    page.locator("#sizes label", has_text="16:9").click()
    expect(page.locator("#size-value")).to_contain_text("16:9")


def test_header_and_content_are_aligned_on_a_wide_screen(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, viewport={"width": 1920, "height": 1080})
    brand, prompt = (page.locator(name).bounding_box() for name in (".brand", ".prompt-box"))
    assert abs(brand["x"] - prompt["x"]) <= 1
    theme, results = (page.locator(name).bounding_box() for name in ("#theme", ".results"))
    assert abs(theme["x"] + theme["width"] - results["x"] - results["width"]) <= 1


def test_messages_have_no_raw_ids(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, forgive=True)
    word = a_word()
    source = made(studio, word, 1)[0]["image_id"]
    open_gallery(page, studio, word, 1)
    pictures(page).first.click()
    choose_work(page, "Start from this")
    expect(page.locator("#start")).to_be_visible()
    studio.call(f"/api/image/{source}", method="DELETE")
    page.locator("#prompt").fill("from what is gone")
    with page.expect_response("**/api/generate") as answer:
        page.locator("#generate").click()
    assert source in answer.value.text()
    expect(page.locator("#form-error")).to_contain_text("not in the gallery")
    assert source not in page.locator("#form-error").inner_text()

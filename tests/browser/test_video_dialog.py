"""A video of an image: submitted in the dialog, made by a fake provider, shown and played."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.gallery_pages import work_menu
from tests.browser.harness import Harness
from tests.browser.test_quality import violations
from tests.providers import media
from tests.providers.replicate_server import SECRET, TOKEN, Script, StandIn, replicate
from tests.providers.schemas import SIZED, document
from tests.waiting import wait_until

PICTURE = {"type": "string", "format": "uri"}
MODE = {"type": "string", "enum": ["calm", "wild"], "title": "Weather"}
FUSSY = document(
    {"prompt": {"type": "string", "maxLength": 10}, "image": PICTURE, "mode": MODE}, ("prompt", "image", "mode")
)
PLAYS = "video => !video.paused && video.readyState >= 2 && video.videoWidth === 48"
SETTINGS = {
    "REPLICATE_API_TOKEN": TOKEN,
    "REPLICATE_WEBHOOK_SECRET": SECRET,
    "REPLICATE_IMAGE_MODELS": "",
    "REPLICATE_VIDEO_MODELS": "acme/clip,acme/fussy,acme/text-only",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[StandIn]:
    with replicate() as server:
        server.add_model("acme/fussy", FUSSY)
        server.add_model("acme/text-only", SIZED)
        yield server


@pytest.fixture(scope="module")
def studio(provider: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """A harness with a local worker and a remote one."""
    folder = tmp_path_factory.mktemp("studio")
    with Harness(folder, REPLICATE_BASE_URL=provider.url, **SETTINGS) as harness:
        harness.open()
        harness.start_remote_worker()
        yield harness


def video_dialog(page: Page, inside: Locator) -> Locator:
    inside.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Make a video").click()
    dialog = page.get_by_role("dialog", name="Make a video")
    expect(dialog).to_be_visible()
    return dialog


def plays(video: Locator) -> None:
    expect(video).to_be_visible()
    handle = video.element_handle()
    assert handle is not None
    video.page.wait_for_function(PLAYS, arg=handle)


def in_gallery(harness: Harness, prompt: str) -> list[dict[str, Any]]:
    return [one for one in harness.call("/api/videos")["images"] if one["prompt"] == prompt]


def test_a_picture_of_the_gallery_becomes_a_video_that_plays(
    new_page: Callable[..., Page], studio: Harness, provider: StandIn
):
    hold = threading.Event()
    provider.scripts["the grass waves"] = Script(files=(media.video(),), hold=hold)
    still = studio.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
    page = new_page(f"{studio.url}/#/gallery")
    page.locator(f'.grid a.tile[data-id="{still["image_id"]}"]').click()
    dialog = video_dialog(page, page.locator(".lightbox"))
    expect(dialog.get_by_label("What happens")).to_have_value("a green hill")
    assert dialog.locator("option").all_text_contents() == ["acme/clip", "acme/fussy"], "one takes no picture"
    dialog.get_by_label("What happens").fill("the grass waves")
    dialog.get_by_role("button", name="Generate").click()

    expect(dialog).to_be_hidden()
    expect(page.locator(".lightbox")).to_be_hidden()
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("the grass waves")
    expect(page.locator('#job-panel [data-status="PROCESSING"]')).to_be_visible()
    hold.set()
    plays(page.locator("#job-panel .picture video"))
    expect(page.locator("#job-panel").get_by_role("button", name="Variations")).to_have_count(0)  # no form asks so
    (made,) = provider.created_for("the grass waves")
    name = made.input["start_image"].removeprefix(f"{provider.url}/files/")
    with page.expect_request(f"**{still['url']}") as asked:
        page.evaluate("url => fetch(url).then(answer => answer.arrayBuffer())", still["url"])
    response = asked.value.response()
    assert response is not None
    assert provider.files[name] == response.body()

    (video,) = in_gallery(studio, "the grass waves")
    page.evaluate("location.hash = '#/gallery'")
    tile = page.locator(f'.grid a.tile[data-id="{video["image_id"]}"]')
    expect(tile).to_contain_text("Video")
    assert tile.locator("video").count() == 0, "nothing is fetched before it is wanted"
    tile.hover()
    plays(tile.locator("video"))
    assert tile.locator("video").evaluate("video => video.muted")
    page.mouse.move(0, 0)
    expect(tile.locator("video")).to_have_count(0)
    tile.focus()
    plays(tile.locator("video"))
    tile.click()
    player = page.locator(".lightbox video[controls]")
    expect(player).to_be_visible()
    player.evaluate("video => { video.muted = true; return video.play(); }")
    plays(player)
    assert "Make a video" not in work_menu(page)
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    expect(page.locator(".lightbox").get_by_role("button", name="Variations")).to_have_count(0)
    with page.expect_download() as download:
        page.locator(".lightbox").get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes()[4:8] == b"ftyp"
    page.locator(".lightbox").get_by_role("button", name="Another from its picture").click()
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("What happens")).to_have_value("the grass waves")
    assert still["image_id"] in (dialog.locator(".video-picture").get_attribute("src") or "")


def test_errors_are_shown_in_the_dialog_and_input_is_kept(
    new_page: Callable[..., Page], studio: Harness, provider: StandIn
):
    provider.scripts["it rains"] = Script(files=(media.video(),))
    studio.made("a lake", seed=6, num_inference_steps=4)
    page = new_page(studio.url, forgive=True, viewport={"width": 390, "height": 780}, reduced_motion="reduce")
    page.locator("#latest-tiles a.tile").first.click()
    dialog = video_dialog(page, page.locator(".lightbox"))
    words = dialog.get_by_label("What happens")
    dialog.get_by_label("Model").select_option("acme/fussy")
    words.fill("far too long a prompt")
    dialog.get_by_role("button", name="Generate").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Prompt must have 10 characters or less")
    expect(dialog.get_by_role("alert")).to_contain_text("Weather is required")
    mode = dialog.get_by_label("Weather")
    expect(mode).to_have_attribute("aria-invalid", "true")
    expect(mode).to_have_accessible_description("is required")
    expect(words).to_have_attribute("aria-invalid", "true")
    expect(words).to_be_focused()
    expect(words).to_have_value("far too long a prompt")
    assert page.evaluate("document.querySelector('#video-dialog').scrollWidth <= innerWidth")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".lightbox")).to_be_visible()
    video_dialog(page, page.locator(".lightbox"))
    expect(words).to_have_value("far too long a prompt")
    mode.select_option("wild")
    words.fill("it rains")
    expect(dialog.get_by_role("alert")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(dialog).to_be_hidden()
    wait_until(lambda: in_gallery(studio, "it rains"), "it never came")
    assert provider.created_for("it rains")[0].input["mode"] == "wild"
    expect(page.locator("#job-panel .picture video")).to_be_visible()
    assert page.locator("#job-panel .picture video").evaluate("video => video.paused"), (
        "plays in spite of reduced motion"
    )


def test_from_the_job_panel_with_a_failure(new_page: Callable[..., Page], studio: Harness, provider: StandIn):
    provider.scripts["it explodes"] = Script(ends="failed", error="NSFW content detected")
    page = new_page(studio.url)
    page.locator("#prompt").fill("a red boat")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    dialog = video_dialog(page, page.locator("#job-panel"))
    dialog.get_by_label("Model").select_option("acme/clip")
    dialog.get_by_label("What happens").fill("it explodes")
    dialog.get_by_role("button", name="Generate").click()
    expect(page.locator("#job-panel .sentence")).to_have_text("NSFW content detected")
    expect(page.locator("#job-panel").get_by_role("button", name="Retry")).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_dialog_is_accessible(new_page: Callable[..., Page], studio: Harness, axe: str, theme: str):
    studio.made("a hill", seed=7, num_inference_steps=4)
    page = new_page(studio.url, reduced_motion="reduce")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.locator("#latest-tiles a.tile").first.click()
    video_dialog(page, page.locator(".lightbox"))
    page.wait_for_timeout(300)
    assert violations(page, axe) == []


def test_without_a_provider_nothing_is_offered(new_page: Callable[..., Page], harness: Harness):
    harness.made("a hill", seed=8, num_inference_steps=4)
    page = new_page(harness.url)
    page.locator("#latest-tiles a.tile").first.click()
    with page.expect_response("**/api/video-models") as answer:
        entries = work_menu(page)
    assert answer.value.json()["models"] == []
    assert "Start from this" in entries
    assert "Make a video" not in entries

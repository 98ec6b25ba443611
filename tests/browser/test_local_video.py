"""Videos by a local model: from the form, and from the video dialog."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery_pages import choose_work
from tests.browser.harness import Harness
from tests.browser.test_quality import open_settings, violations
from tests.browser.test_video_dialog import in_gallery, plays, video_dialog
from tests.providers.replicate_server import SECRET, TOKEN, StandIn, replicate
from tests.providers.schemas import document

FILM = (
    'film;builtin;Moves what it paints;local;false;{"media": "video", "tasks": ["txt2video", "img2video"],'
    ' "steps": {"min": 4, "max": 40, "default": 6},'
    ' "defaults": {"width": 48, "height": 48, "num_frames": 17, "fps": 8},'
    ' "limits": {"min_width": 32, "min_height": 32, "multiple_of": 16, "frame_step": 8}}'
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(tmp_path_factory.mktemp("studio"), MODEL_FILM=FILM, MAX_NUM_FRAMES="40") as harness:
        yield harness.open()


def test_the_form_makes_a_video(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url)
    length = page.get_by_role("group", name="Length")
    expect(length).to_be_hidden()
    page.locator("#model").select_option("film")
    expect(length).to_be_visible()
    frames = length.get_by_label("Frames")
    expect(frames).to_have_value("17")
    expect(page.locator("#length-value")).to_have_text("2.1 s")
    for typed, taken in (("20", "17"), ("22", "25"), ("1000", "33"), ("9", "9")):
        frames.fill(typed)
        frames.blur()
        expect(frames).to_have_value(taken)
    length.get_by_label("A second").fill("4")
    page.locator("#prompt").fill("a hill that wanders")
    page.locator("#generate").click()
    plays(page.locator("#job-panel .picture video"))
    (video,) = in_gallery(studio, "a hill that wanders")
    settings = studio.status(video["job_id"])["settings"]
    assert (settings["num_frames"], settings["fps"], settings["strength"]) == (9, 4, None)
    page.locator("#job-panel .picture").click()
    expect(page.locator(".lightbox dl")).to_contain_text("2.3 s · 4 a second")
    page.keyboard.press("Escape")
    page.locator("#model").select_option("painter")
    expect(length).to_be_hidden()
    page.locator("#job-panel").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#model")).to_have_value("film")
    expect(frames).to_have_value("9")
    expect(length.get_by_label("A second")).to_have_value("4")


def test_a_picture_becomes_a_video_and_another_one(new_page: Callable[..., Page], studio: Harness):
    still = studio.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
    page = new_page(f"{studio.url}/#/gallery")
    page.locator(f'.grid a.tile[data-id="{still["image_id"]}"]').click()
    dialog = video_dialog(page, page.locator(".lightbox"))
    assert dialog.locator("option").all_text_contents() == ["film"]
    dialog.get_by_label("What happens").fill("the hill walks away")
    dialog.get_by_label("Frames").fill("9")
    dialog.get_by_role("button", name="Generate").click()
    plays(page.locator("#job-panel .picture video"))
    page.locator("#job-panel").get_by_role("button", name="Variations").click()
    expect(page.locator("#strip li")).to_have_count(2)
    studio.quiet()
    made = [studio.status(one["job_id"]) for one in in_gallery(studio, "the hill walks away")]
    assert [body["task"] for body in made] == ["img2video"] * 2
    assert [body["inputs"]["image"]["image_id"] for body in made] == [still["image_id"]] * 2
    assert [body["settings"]["num_frames"] for body in made] == [9] * 2
    assert made[0]["settings"]["seed"] != made[1]["settings"]["seed"]


def test_an_input_image_is_the_first_frame(new_page: Callable[..., Page], studio: Harness):
    studio.made("a lake", seed=6, num_inference_steps=4)
    page = new_page(studio.url)
    page.locator("#latest-tiles a.tile").first.click()
    choose_work(page, "Start from this")
    expect(page.locator("#strength")).to_be_enabled()
    page.locator("#model").select_option("film")
    expect(page.locator("#strength")).to_be_disabled()
    expect(page.locator("#start-note")).to_have_text("The video begins with it.")
    page.locator("#prompt").fill("the lake rises")
    page.locator("#generate").click()
    plays(page.locator("#job-panel .picture video"))
    (video,) = in_gallery(studio, "the lake rises")
    assert studio.status(video["job_id"])["task"] == "img2video"
    (warning,) = studio.status(video["job_id"])["warnings"]
    assert "scaled to 48 × 48" in warning, "and nothing of a strength"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_fields_are_accessible(new_page: Callable[..., Page], studio: Harness, axe: str, theme: str):
    studio.made("a hill", seed=7, num_inference_steps=4)
    page = new_page(studio.url, reduced_motion="reduce", viewport={"width": 390, "height": 780})
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    open_settings(page)
    page.locator("#model").select_option("film")
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#latest-tiles a.tile").first.click()
    video_dialog(page, page.locator(".lightbox"))
    page.wait_for_timeout(300)
    assert violations(page, axe) == []


class TestWithAProvider:
    """A remote model with more required inputs than a prompt, beside the local one."""

    @pytest.fixture(scope="class")
    def provider(self) -> Iterator[StandIn]:
        picture = {"type": "string", "format": "uri"}
        length = {"type": "integer", "minimum": 2, "maximum": 9, "title": "Duration"}
        mood = {"type": "string", "enum": ["calm", "wild"]}
        usual = {"type": "integer", "default": 24}
        inputs = {"prompt": {"type": "string"}, "image": picture, "duration": length, "mood": mood, "fps": usual}
        with replicate() as server:
            server.add_model("acme/asks", document(inputs, ("prompt", "image", "duration", "mood", "fps")))
            yield server

    @pytest.fixture(scope="class")
    def both(self, provider: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        settings = {
            "REPLICATE_API_TOKEN": TOKEN,
            "REPLICATE_WEBHOOK_SECRET": SECRET,
            "REPLICATE_IMAGE_MODELS": "",
            "REPLICATE_VIDEO_MODELS": "acme/asks",
            "REPLICATE_BASE_URL": provider.url,
        }
        with Harness(tmp_path_factory.mktemp("both"), MODEL_FILM=FILM, **settings) as harness:
            harness.open()
            harness.start_remote_worker()
            yield harness

    def test_required_inputs_of_a_model_have_fields(
        self, new_page: Callable[..., Page], both: Harness, provider: StandIn
    ):
        still = both.made("a green hill", seed=5, num_inference_steps=4)["images"][0]
        page = new_page(f"{both.url}/#/gallery", forgive=True)
        page.locator(f'.grid a.tile[data-id="{still["image_id"]}"]').click()
        dialog = video_dialog(page, page.locator(".lightbox"))
        assert dialog.locator("#video-model option").all_text_contents() == ["film", "acme/asks"]
        expect(dialog.get_by_label("Frames")).to_be_visible()
        dialog.get_by_label("Model").select_option("acme/asks")
        expect(dialog.get_by_label("Frames")).to_be_hidden()
        expect(dialog.get_by_label("Duration")).to_be_visible()
        expect(dialog.locator(".video-more > .field")).to_have_count(
            2
        )  # neither what has a place nor what has a default
        dialog.get_by_label("What happens").fill("it asks")
        dialog.get_by_label("Duration").fill("10")
        dialog.get_by_label("mood").select_option("wild")
        dialog.get_by_role("button", name="Generate").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Duration must be 9 or less, not 10")
        page.keyboard.press("Escape")
        video_dialog(page, page.locator(".lightbox"))
        expect(dialog.get_by_label("Duration")).to_have_value("10")
        dialog.get_by_label("Duration").fill("5")
        dialog.get_by_role("button", name="Generate").click()
        expect(page.locator("#job-panel .picture")).to_be_visible()
        (made,) = provider.created_for("it asks")
        assert (made.input["duration"], made.input["mood"], made.input["fps"]) == (5, "wild", 24)

"""The form of a provider's model: made from its schema, filled, refused, sent, remembered and filled again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.gallery_pages import choose_work
from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, open_settings, violations
from tests.providers import media
from tests.providers.replicate_server import SECRET, TOKEN, Prediction, Script, StandIn, replicate
from tests.providers.schemas import document
from tests.waiting import wait_until

URI = {"type": "string", "format": "uri"}
EVERYTHING = document(
    {
        "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
        "aspect_ratio": {
            "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}],
            "default": "1:1",
            "x-order": 1,
            "description": "The shape of the picture",
        },
        "guidance": {"type": "number", "minimum": 0, "maximum": 10, "default": 3.5, "x-order": 2, "title": "Guidance"},
        "image": {**URI, "nullable": True, "x-order": 3, "title": "Image", "description": "A picture to start from"},
        "references": {"type": "array", "items": URI, "maxItems": 2, "x-order": 4, "title": "References"},
        "go_fast": {"type": "boolean", "default": True, "x-order": 5, "title": "Go fast"},
        "caption": {"type": "string", "maxLength": 12, "x-order": 6, "title": "Caption"},
        "duration": {"type": "integer", "enum": [5, 10], "default": 5, "x-order": 7, "title": "Duration"},
        "tags": {"type": "array", "items": {"type": "string"}, "x-order": 8, "title": "Tags"},
        "looks": {"type": "array", "items": {"$ref": "#/components/schemas/look"}, "x-order": 9, "title": "Looks"},
        "seed": {"type": "integer", "nullable": True, "x-order": 10, "title": "Seed"},
        "options": {"type": "object", "x-order": 11, "title": "Options"},
    },
    aspect_ratio={"enum": ["1:1", "16:9"], "type": "string", "title": "aspect_ratio"},
    look={"enum": ["warm", "cold"], "type": "string"},
)
SETTINGS = {
    "REPLICATE_API_TOKEN": TOKEN,
    "REPLICATE_WEBHOOK_SECRET": SECRET,
    "REPLICATE_IMAGE_MODELS": "acme/everything",
    "REPLICATE_VIDEO_MODELS": "acme/clip",
    "REMOTE_PRICE": "0.04",
}
ID = "acme/everything"


@pytest.fixture(scope="module")
def provider() -> Iterator[StandIn]:
    with replicate() as server:
        server.add_model("acme/everything", EVERYTHING, official=True)
        yield server


@pytest.fixture(scope="module")
def studio(provider: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(tmp_path_factory.mktemp("studio"), REPLICATE_BASE_URL=provider.url, **SETTINGS) as harness:
        harness.open()
        harness.start_remote_worker()
        yield harness


def choose(page: Page, model: str = "acme/everything") -> Locator:
    expect(page.locator("#model option", has_text=model)).to_be_attached()
    open_settings(page)
    page.get_by_label("Model", exact=True).select_option(label=model)
    form = page.locator("#model-form")
    expect(form.locator(".field").first).to_be_visible()
    return form


def made(provider: StandIn, prompt: str) -> Prediction:
    wait_until(lambda: provider.created_for(prompt), "the provider was never asked")
    (found,) = provider.created_for(prompt)
    return found


def png(side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(file, "PNG")
    return file.getvalue()


def test_every_input_has_its_control_in_the_schemas_order(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url)
    names = "entries => entries.map(entry => new URL(entry.name).pathname)"
    loaded = page.evaluate(f"({names})(performance.getEntriesByType('resource'))")
    assert not [path for path in loaded if "model-form" in path or "model-f" in path], "nobody chose such a model"
    form = choose(page)
    titles = form.locator(".field > label, .field > legend").evaluate_all("all => all.map(one => one.firstChild.data)")
    assert titles == [
        "Aspect ratio",
        "Guidance",
        "Image",
        "References",
        "Go fast",
        "Caption",
        "Duration",
        "Tags",
        "Looks",
        "Seed",
        "Options",
    ]
    assert form.get_by_label("Aspect ratio").locator("option").all_text_contents() == ["1:1", "16:9"]
    expect(form.get_by_label("Guidance")).to_have_value("3.5")
    expect(form.get_by_role("switch", name="Go fast")).to_be_checked()
    expect(form.get_by_label("Aspect ratio")).to_have_accessible_description("The shape of the picture")
    expect(form).to_contain_text("Costs 0.04 a picture.")
    expect(page.locator("#steps")).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option("painter")
    expect(form).to_be_hidden()
    expect(page.locator("#steps")).to_be_visible()


def test_what_is_chosen_is_sent_and_comes_back(new_page: Callable[..., Page], studio: Harness, provider: StandIn):
    still = studio.made("a green hill", seed=11, num_inference_steps=4)["images"][0]
    page = new_page(studio.url)
    form = choose(page)
    page.locator("#prompt").fill("a red barn")
    form.get_by_label("Aspect ratio").select_option("16:9")
    form.get_by_label("Guidance").fill("7.25")
    form.get_by_role("switch", name="Go fast").uncheck()
    form.get_by_role("group", name="References").locator("input[type=file]").set_input_files(
        [{"name": "one.png", "mimeType": "image/png", "buffer": png()}]
    )
    expect(form.get_by_role("group", name="References").locator("li")).to_have_count(1)
    form.get_by_role("group", name="References").get_by_label("URL").fill("https://example.com/two.png")
    form.get_by_role("group", name="References").get_by_label("URL").press("Tab")
    expect(form.get_by_role("group", name="References").locator("li")).to_have_count(2)
    form.get_by_role("group", name="Image").get_by_role("button", name="From the gallery").click()
    page.get_by_role("dialog", name="Choose a picture").get_by_role("button", name="a green hill").first.click()
    expect(form.get_by_role("group", name="Image").locator("img")).to_be_visible()
    form.locator("summary").click()
    form.get_by_label("Duration").select_option("10")
    form.get_by_label("Tags").fill("barn\nred\n")
    form.get_by_role("group", name="Looks").get_by_label("cold").check()
    form.get_by_label("Seed").fill("42")
    form.get_by_label("Options").fill('{"a": [1]}')
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    sent = dict(made(provider, "a red barn").input)
    files = [sent.pop("image"), *sent.pop("references")]
    assert files[0].startswith(f"{provider.url}/files/")
    assert files[2] == "https://example.com/two.png"
    assert sent == {
        "prompt": "a red barn",
        "aspect_ratio": "16:9",
        "guidance": 7.25,
        "go_fast": False,
        "duration": 10,
        "tags": ["barn", "red"],
        "looks": ["cold"],
        "seed": 42,
        "options": {"a": [1]},
    }

    page.reload()
    form = page.locator("#model-form")
    expect(form.get_by_label("Guidance")).to_have_value("7.25")
    expect(form.get_by_label("Aspect ratio").locator("option:checked")).to_have_text("16:9")
    expect(form.get_by_role("switch", name="Go fast")).not_to_be_checked()
    form.get_by_role("button", name="Back to defaults").click()
    expect(form.get_by_label("Guidance")).to_have_value("3.5")
    expect(form.get_by_role("switch", name="Go fast")).to_be_checked()
    page.get_by_label("Model", exact=True).select_option("painter")
    page.locator("#latest-tiles a.tile").first.click()
    page.locator(".lightbox").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#prompt")).to_have_value("a red barn")
    expect(page.get_by_label("Model", exact=True)).to_have_value(ID)
    expect(form.get_by_label("Guidance")).to_have_value("7.25")
    expect(form.get_by_label("Seed")).to_have_value("42")
    expect(form.get_by_role("group", name="Image").locator("img")).to_have_attribute(
        "src", f"/api/image/{still['image_id']}/thumbnail"
    )
    expect(page.locator("#toasts")).to_contain_text("References")  # an upload is not kept
    assert form.get_by_role("group", name="References").locator("li").count() == 1


def test_errors_stand_at_their_fields(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, forgive=True)
    form = choose(page)
    guidance = form.get_by_label("Guidance")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_have_text("Prompt must say what to show")
    expect(page.locator("#prompt")).to_be_focused()
    page.locator("#prompt").fill("a red barn, again")
    guidance.fill("99")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_have_text("Guidance must be a number from 0 to 10")
    expect(guidance).to_have_attribute("aria-invalid", "true")
    expect(guidance).to_be_focused()
    guidance.fill("4")
    expect(guidance).to_have_attribute("aria-invalid", "false")
    image = form.get_by_role("group", name="Image")
    image.get_by_label("URL").fill("cyberimage://image/" + "0" * 32)
    image.get_by_label("URL").press("Tab")
    page.locator("#generate").click()  # the server judges this one
    expect(image.locator(".field-error")).to_contain_text("There is no image with this id")
    expect(image).to_have_attribute("aria-invalid", "true")
    image.get_by_role("button", name="Remove").click()
    form.locator("summary").click()
    form.get_by_label("Options").fill("{")
    form.locator("summary").click()
    page.locator("#generate").click()
    expect(form.get_by_label("Options")).to_be_focused()  # its group was opened for it


def test_a_picture_of_the_gallery_starts_a_video_of_the_form(
    new_page: Callable[..., Page], studio: Harness, provider: StandIn
):
    provider.scripts["the hill moves"] = Script(files=(media.video(),))
    studio.made("a hill", seed=12, num_inference_steps=4)
    page = new_page(studio.url)
    form = choose(page, "acme/clip")
    page.locator("#prompt").fill("the hill moves")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_have_text("Start image is required")
    page.locator("#latest-tiles a.tile").first.click()
    choose_work(page, "Start from this")
    expect(form.get_by_role("group", name="Start image").locator("img")).to_be_visible()
    page.locator("#generate").click()
    expect(page.locator("#job-panel .picture video")).to_be_visible()
    assert made(provider, "the hill moves").input["start_image"].startswith(f"{provider.url}/files/")


def test_a_provider_that_is_away_can_be_asked_again(new_page: Callable[..., Page], studio: Harness):
    page = new_page(studio.url, forgive=True)
    page.route("**/everything/schema", lambda route: route.abort(), times=1)
    expect(page.locator("#model option", has_text="acme/everything")).to_be_attached()
    page.get_by_label("Model", exact=True).select_option(label="acme/everything")
    form = page.locator("#model-form")
    form.get_by_role("button", name="Try again").click()
    expect(form.get_by_label("Guidance")).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_the_form_is_accessible_and_fits(
    new_page: Callable[..., Page], studio: Harness, axe: str, theme: str, options: dict[str, Any]
):
    studio.made("a hill", seed=13, num_inference_steps=4)
    page = new_page(studio.url, reduced_motion="reduce", **options)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    form = choose(page)
    form.locator("summary").click()
    page.locator("#generate").click()
    page.wait_for_timeout(300)
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    form.get_by_role("group", name="Image").get_by_role("button", name="From the gallery").click()
    expect(page.get_by_role("dialog", name="Choose a picture").locator("li img").first).to_be_visible()
    page.wait_for_timeout(300)
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()

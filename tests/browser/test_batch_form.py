"""The batch section of the form: what it counts, what it submits, and where it says what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.harness import Harness
from tests.browser.test_quality import PHONE, open_settings, violations

ACCEPTED = re.compile(r"#/queue/[0-9a-f]{32}$")  # the address of a batch in the queue view
DRY_RUN = re.compile(r"/api/batches\?limit=\d+$")
TALL: dict[str, Any] = {"viewport": {"width": 1280, "height": 2200}}  # all of the form, with nothing under its button


def opened(page: Page, prompt: str = "a {red|blue} boat") -> Locator:
    page.fill("#prompt", prompt)
    open_settings(page)
    page.locator("#steps").fill("4")
    page.locator("#batch > summary").click()
    form = page.locator(".batch-form")
    expect(form).to_be_visible()
    return form


def axis(form: Locator, at: int, field: str, values: str, search: str | None = None) -> Locator:
    if at:
        form.get_by_role("button", name="Add a field").click()
    row = form.locator(".batch-axis").nth(at)
    row.get_by_label("Field that changes").select_option(field)
    if search is not None:
        row.get_by_label("Words to replace").fill(search)
    row.get_by_label("Values").fill(values)
    return row


def sent_by(page: Page, act: Callable[[], None]) -> dict[str, Any]:
    """The batch that is submitted, not one that is only counted."""
    real = lambda request: request.url.endswith("/api/batches") and not request.post_data_json.get("dry_run")  # noqa: E731
    with page.expect_request(real) as caught:
        act()
    body: dict[str, Any] = caught.value.post_data_json
    return body


def verdict(page: Page) -> Locator:
    return page.locator(".batch-verdict")


def test_a_grid_is_counted_made_and_shown(page: Page):
    form = opened(page)
    axis(form, 0, "settings.guidance_scale", "2..4")
    expect(verdict(page)).to_contain_text("6 pictures")
    expect(page.locator("#generate-text")).to_have_text("Make 6 pictures")
    form.locator("summary", has_text="The first prompts").click()
    expect(form.locator(".batch-prompts li")).to_have_text(["a red boat", "a blue boat"])
    page.locator("#prompt").focus()
    body = sent_by(page, lambda: page.keyboard.press("Control+Enter"))
    assert body["axes"] == [{"field": "settings.guidance_scale", "values": [2, 3, 4]}]
    assert (body["mode"], "seeds" in body, body["settings"]["num_inference_steps"]) == ("combinatorial", False, 4)
    expect(page).to_have_url(ACCEPTED)
    table = page.locator(".batch-grid table")
    expect(table.locator("thead th")).to_have_text(["2", "3", "4"])
    expect(table.locator("img")).to_have_count(6)
    expect(page.locator(".batch-grid a", has_text="Sheet")).to_have_attribute("href", re.compile("/grid$"))


def test_all_kinds_of_axes_and_seeds_are_sent_as_the_api_takes_them(page: Page, harness: Harness):
    form = opened(page, "a boat by day")
    axis(form, 0, "prompt_replace", "day, night", search="day")
    axis(form, 1, "size", "")
    sizes = form.locator(".batch-axis").nth(1)
    known = sizes.locator(".batch-chip")
    expect(known.first).to_have_text("256x256")
    portrait = known.nth(1).inner_text()
    for at in (0, 1):
        known.nth(at).click()
    samplers = axis(form, 2, "settings.scheduler", "euler")
    samplers.get_by_role("button", name="Add dpmpp_2m").click()
    form.get_by_role("group", name="Seeds").get_by_text("List").click()
    form.get_by_label("Seeds, such as").fill("7, 9")
    form.get_by_label("Name", exact=True).fill("boats at sea")
    expect(verdict(page)).to_contain_text("16 pictures")
    body = sent_by(page, page.locator("#generate").click)
    assert body["axes"] == [
        {"field": "prompt_replace", "values": ["day", "night"], "search": "day"},
        {"field": "size", "values": ["256x256", portrait]},
        {"field": "settings.scheduler", "values": ["euler", "dpmpp_2m"]},
    ]
    assert (body["seeds"], body["name"]) == ([7, 9], "boats at sea")
    expect(page).to_have_url(ACCEPTED)
    newest = harness.call("/api/batches?limit=1")["batches"][0]
    assert (newest["name"], newest["jobs"]) == ("boats at sea", 16)
    harness.call(f"/api/batches/{newest['batch_id']}/cancel", method="POST")


def test_samples_are_drawn_and_zipped_axes_advance_together(page: Page):
    form = opened(page, "a {red|green|blue} boat")
    axis(form, 0, "settings.guidance_scale", "2, 3")
    axis(form, 1, "settings.num_inference_steps", "4, 5")
    form.get_by_text("Side by side").click()
    expect(verdict(page)).to_contain_text("6 pictures")
    form.get_by_text("By chance", exact=True).click()
    form.get_by_label("How many pictures").fill("5")
    form.get_by_label("Draw").fill("3")
    form.get_by_text("One each").click()
    expect(verdict(page)).to_contain_text("5 pictures")
    body = sent_by(page, page.locator("#generate").click)
    assert (body["mode"], body["samples"], body["sample_seed"], body["seeds"]) == ("sampled", 5, 3, "each")


def test_what_is_wrong_is_said_at_its_place_and_nothing_is_sent(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url, forgive=True)  # the browser itself complains about every 400
    form = opened(page, "a boat")
    first = axis(form, 0, "settings.guidance_scale", "2, high")
    expect(first.locator(".field-error")).to_contain_text("“high” is no number")
    expect(first.get_by_label("Values")).to_have_attribute("aria-invalid", "true")
    first.get_by_label("Values").fill("2, 3, 4")
    expect(first.locator(".field-error")).to_be_hidden()
    second = axis(form, 1, "prompt_replace", "ship", search="submarine")
    expect(second.locator(".field-error")).to_contain_text("'submarine' is not in the prompt")
    expect(second.get_by_label("Words to replace")).to_have_attribute("aria-invalid", "true")
    second.get_by_label("Field that changes").select_option("size")
    second.get_by_label("Values").fill("64x64, 9999x64")
    expect(second.locator(".field-error")).to_contain_text(re.compile("Of picture 2: .*512"))
    second.get_by_label("Values").fill("64x64, 128x64")
    form.get_by_text("Side by side").click()
    expect(page.locator("#batch-problem")).to_contain_text("must have as many values as each other")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_contain_text("must have as many values as each other")
    expect(page.locator("#generate")).not_to_have_attribute("aria-busy", "true")
    before = harness.call("/api/batches?limit=1")["batches"]
    second.get_by_role("button", name="Remove this field").click()
    expect(form.get_by_role("button", name="Add a field")).to_be_focused()
    expect(page.locator("#batch-problem")).to_be_hidden()
    expect(verdict(page)).to_contain_text("3 pictures")
    assert harness.call("/api/batches?limit=1")["batches"] == before


def test_one_dry_run_is_in_flight_and_the_newest_follows(page: Page):
    page.clock.install()
    held: list[Route] = []
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if DRY_RUN.search(request.url) else None)
    page.route(DRY_RUN, lambda route: route.continue_() if held else held.append(route))
    with page.expect_request(DRY_RUN):
        form = opened(page)
    for values in ("2, 3", "2, 3, 4"):
        axis(form, 0, "settings.guidance_scale", values)
        page.clock.run_for(1000)  # longer than the pause after which a dry run is sent
    held[0].continue_()
    expect(verdict(page)).to_contain_text("6 pictures")
    assert [[one["values"] for one in request.post_data_json["axes"]] for request in sent] == [[], [[2, 3, 4]]]


def test_a_busy_server_is_asked_once_more_and_is_no_error(new_page: Callable[..., Page], harness: Harness):
    page = new_page(harness.url, forgive=True)  # the browser itself complains about every 503
    asked: list[Route] = []

    def busy(route: Route) -> None:
        asked.append(route)
        problem = {"status": 503, "code": "unavailable", "detail": "Other batches are being accepted. Try again."}
        route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))

    page.route(DRY_RUN, busy)
    with page.expect_response(DRY_RUN):
        form = opened(page)
    expect(verdict(page)).to_contain_text("Counting")
    expect(verdict(page)).to_contain_text("Not counted. Other batches are being accepted.")
    assert len(asked) == 2
    expect(page.locator("#batch-problem")).to_be_hidden()
    page.unroute(DRY_RUN)
    axis(form, 0, "settings.guidance_scale", "2, 3")
    expect(verdict(page)).to_contain_text("4 pictures")


def test_an_empty_section_says_what_is_missing(page: Page):
    form = opened(page, "a boat")
    expect(verdict(page)).to_contain_text("Say what changes")
    page.locator("#generate").click()
    expect(form.locator(".batch-axis .field-error")).to_contain_text("Give at least one value")
    expect(page.locator("#form-error")).to_contain_text("see its fields")
    page.locator("#batch > summary").click()
    expect(page.locator("#generate-text")).to_have_text("Generate")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("a boat")  # a single picture, as ever


def test_braces_in_a_single_prompt_lead_to_the_section(page: Page, harness: Harness):
    page.fill("#prompt", "a {red|blue} kite")
    page.locator("#steps").fill("4")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("a {red|blue} kite")
    page.locator(".toast").get_by_role("button", name="Batch").click()
    expect(page.locator(".batch-form")).to_be_visible()
    expect(verdict(page)).to_contain_text("2 pictures")


def test_the_section_survives_a_reload(page: Page):
    form = opened(page, "a boat")
    axis(form, 0, "settings.guidance_scale", "2, 3, 5")
    form.get_by_text("One each").click()
    expect(verdict(page)).to_contain_text("3 pictures")
    page.reload()
    page.locator("#batch > summary").click()
    row = page.locator(".batch-axis")
    expect(row.get_by_label("Values")).to_have_value("2, 3, 5")
    expect(row.get_by_label("Field that changes")).to_have_value("settings.guidance_scale")
    expect(page.locator("input[name=batch-seeds][value=each]")).to_be_checked()


def test_a_batch_by_keyboard_alone(page: Page):
    page.keyboard.type("a {red|blue} boat")
    page.locator("#batch > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".batch-form")).to_be_visible()
    page.locator(".batch-axis select").focus()
    page.keyboard.press("Tab")  # its button to remove it
    page.keyboard.press("Tab")  # the words to replace
    page.keyboard.type("boat")
    page.keyboard.press("Tab")
    page.keyboard.type("boat, ship")
    expect(verdict(page)).to_contain_text("4 pictures")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".batch-grid table")).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("options", [TALL, PHONE], ids=["desktop", "phone"])
def test_the_section_is_accessible_and_nothing_overflows(
    new_page: Callable[..., Page], harness: Harness, axe: str, theme: str, options: dict[str, Any]
):
    page = new_page(harness.url, forgive=True, reduced_motion="reduce", **options)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    form = opened(page, "a boat")
    axis(form, 0, "settings.guidance_scale", "x")
    axis(form, 1, "size", "64x64")
    form.get_by_text("By chance", exact=True).click()
    form.locator("summary", has_text="Choices in the prompt").click()
    expect(form.locator(".batch-axis .field-error").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page, axe) == []


def test_a_batch_of_the_prompt_alone_leaves_the_form_for_single_pictures(page: Page, harness: Harness):
    opened(page, "a {red|blue} kite")
    expect(verdict(page)).to_contain_text("2 pictures")
    page.locator("#generate").click()
    expect(page.locator("main > [data-view=queue]")).to_be_visible()
    page.locator(".tabs a[data-view=create]").click()
    expect(page.locator("#generate-text")).to_have_text("Generate")
    page.fill("#prompt", "a single kite")
    page.locator("#generate").click()
    expect(page.locator("#job-panel .job-panel-prompt")).to_have_text("a single kite")

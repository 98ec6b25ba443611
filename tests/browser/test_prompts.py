"""Prompts that were sent, presets and defaults; controls and references in the form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import Harness
from tests.browser.test_quality import violations
from tests.browser.test_start import generate


@pytest.fixture
def page(new_page: Callable[..., Page], studio: Harness) -> Page:
    studio.quiet()
    return new_page(studio.url)


def test_prompts_are_found_again_with_their_settings(page: Page, studio: Harness, axe: str):
    page.locator("details.fine summary").click()
    page.locator("#seed").fill("11")
    generate(page, "a red lighthouse at night")
    page.locator("#seed").fill("12")
    generate(page, "a blue boat")
    studio.quiet()
    page.reload()
    page.locator("#prompts-open").click()
    rows = page.locator(".prompt-row")
    expect(rows).to_have_count(2)
    assert violations(page, axe) == []
    page.get_by_label("Search your prompts").fill("NIGHT red")
    expect(rows).to_have_count(1)
    rows.first.click()
    expect(page.locator("#prompt")).to_have_value("a red lighthouse at night")
    expect(page.locator("#seed")).to_have_value("11")
    page.locator("#prompts-open").click()
    page.get_by_role("button", name="Forget “a blue boat”").click()
    expect(rows).to_have_count(1)


def test_presets_and_defaults(page: Page, studio: Harness, new_page: Callable[..., Page]):
    page.locator("#prompt").fill("stays")
    page.locator("#steps").fill("17")
    page.locator("#count label", has_text="2").click()
    page.locator("#prompts-open").click()
    page.get_by_label("Name of the preset").fill("Quick pair")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Make these my defaults").click()
    page.keyboard.press("Escape")
    page.locator("#steps").fill("5")
    page.locator("#count label", has_text="1").click()
    page.locator("#prompts-open").click()
    page.get_by_role("button", name="Quick pair", exact=True).click()
    expect(page.locator("#steps")).to_have_value("17")
    expect(page.locator("#count input:checked")).to_have_value("2")
    expect(page.locator("#prompt")).to_have_value("stays")
    page.locator("#steps").fill("6")
    page.locator("#prompts-open").click()
    page.get_by_role("button", name="Back to my defaults").click()
    expect(page.locator("#steps")).to_have_value("17")


@pytest.fixture
def controlled(new_page: Callable[..., Page], studio: Harness) -> Page:
    """A page whose model says that it takes controls and references."""

    def answer(route):
        body = route.fetch().json()
        for model in body["models"]:
            if model["id"] == "retoucher":
                model |= {"roles": ["image", "mask", "control", "reference"], "control_models": ["canny", "depth"]}
                model |= {"reference_models": ["adapter"]}
        route.fulfill(json=body)

    studio.made("a picture for slots", seed=3, num_inference_steps=4)
    page = new_page(studio.url, forgive=True)
    page.context.route("**/api/models", answer)
    page.reload()
    expect(page.locator("#add-control")).to_be_visible()
    return page


def test_controls_and_references_are_inputs_with_roles(controlled: Page, studio: Harness):
    newest = studio.call("/api/images?limit=1")["images"][0]["image_id"]
    for kind in ("control", "reference"):
        controlled.locator(f"#add-{kind}").click()
        controlled.locator("#picker-dialog .picker-tiles button").first.click()
    slots = controlled.locator("#input-slots li")
    expect(slots).to_have_count(2)
    controlled.get_by_label("Weight of control 1").fill("0.6")
    controlled.get_by_label("How control 1 is read").select_option("depth")
    controlled.get_by_label("Model of control 1").select_option("canny")
    controlled.context.route("**/api/generate", lambda route: route.abort())
    controlled.locator("#prompt").fill("like these")
    with controlled.expect_request("**/api/generate") as request:
        controlled.locator("#generate").click()
    assert request.value.post_data_json["inputs"] == [
        {"role": "control", "source": newest, "processor": "depth", "weight": 0.6, "model": "canny"},
        {"role": "reference", "source": newest, "model": "adapter"},
    ]
    controlled.get_by_role("button", name="Remove control 1").click()
    expect(slots).to_have_count(1)

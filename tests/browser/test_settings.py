"""The settings form: limits of each model, stored values, and the resulting request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import Harness


def sent(page: Page) -> dict[str, Any]:
    """Submits the form and returns the request that was sent."""
    expect(page.locator("#generate")).not_to_have_attribute("aria-busy", "true")  # a click while it sends does nothing
    with page.expect_request("**/api/generate") as found:
        page.locator("#generate").click()
    body: dict[str, Any] = found.value.post_data_json
    return body


def slider(page: Page) -> tuple[str, ...]:
    return tuple(page.locator("#steps").evaluate("s => [s.min, s.max, s.value, String(s.disabled)]"))


def test_steps_follow_the_model(page: Page):
    expect(page.locator("#model")).to_have_value("painter")
    assert slider(page) == ("4", "40", "12", "false")
    expect(page.locator("#steps-value")).to_have_text("12")

    page.select_option("#model", "fixed")
    assert slider(page)[2:] == ("7", "true")
    expect(page.locator("#steps-value")).to_have_text("7")
    expect(page.locator("#steps-note")).to_have_text("This model always takes 7.")

    page.select_option("#model", "open")
    assert slider(page) == ("20", "50", "30", "false")
    expect(page.locator("#steps-value")).to_have_text("30")

    page.locator("#steps").fill("41")
    expect(page.locator("#steps-value")).to_have_text("41")


def test_model_and_steps_come_back(page: Page):
    page.select_option("#model", "open")
    page.locator("#steps").fill("44")
    assert page.evaluate("[localStorage.lastModelId, localStorage.lastStepsValue]") == ["open", "44"]
    page.reload()
    expect(page.locator("#model")).to_have_value("open")
    expect(page.locator("#steps-value")).to_have_text("44")
    assert slider(page) == ("20", "50", "44", "false")


def test_steps_are_saved_while_the_slider_is_dragged(page: Page):
    page.locator("#steps").evaluate("s => { s.value = 31; s.dispatchEvent(new Event('input', { bubbles: true })); }")
    assert page.evaluate("[localStorage.lastModelId, localStorage.lastStepsValue]") == ["painter", "31"]


def test_steps_size_and_guidance_come_back_for_each_model(page: Page):
    page.locator("#steps").fill("17")
    page.locator("#sizes label", has_text="16:9").click()
    page.locator("details.fine summary").click()
    page.locator("#guidance").fill("6.5")
    page.select_option("#model", "open")
    page.locator("#steps").fill("44")
    page.reload()
    expect(page.locator("#model")).to_have_value("open")
    expect(page.locator("#steps-value")).to_have_text("44")
    page.select_option("#model", "painter")
    expect(page.locator("#steps-value")).to_have_text("17")
    expect(page.locator("#size-value")).to_contain_text("336 × 192")
    expect(page.locator("#guidance-value")).to_have_text("6.5")
    assert page.evaluate("[localStorage.lastModelId, localStorage.lastStepsValue]") == ["painter", "17"]


@pytest.mark.parametrize("stored", ["null", "7", '"x"', "[]", "{", '{"painter": 7}', '{"painter": {"steps": "many"}}'])
def test_stored_settings_that_are_none(new_page: Callable[..., Page], harness: Harness, stored: str):
    page = new_page(harness.url)
    page.evaluate("text => { localStorage.modelSettings = text; }", stored)
    page.reload()
    expect(page.locator("#steps-value")).to_have_text("12")


def test_model_and_steps_are_saved_on_submit(page: Page):
    page.evaluate("localStorage.clear()")
    page.fill("#prompt", "a hill")
    assert sent(page)["settings"]["num_inference_steps"] == 12
    assert page.evaluate("[localStorage.lastModelId, localStorage.lastStepsValue]") == ["painter", "12"]


STORED = [("vanished", "33"), ("", ""), ("painter", "9999"), ("painter", "many"), ("fixed", "33")]


@pytest.mark.parametrize("stored", STORED)
def test_stored_values_that_no_longer_fit(new_page: Callable[..., Page], harness: Harness, stored: tuple[str, str]):
    page = new_page(harness.url)
    page.evaluate("([id, steps]) => Object.assign(localStorage, { lastModelId: id, lastStepsValue: steps })", stored)
    page.reload()
    expect(page.locator("#model")).to_have_value("fixed" if stored[0] == "fixed" else "painter")
    expect(page.locator("#steps-value")).to_have_text({"fixed": "7", "vanished": "33"}.get(stored[0], "12"))
    page.fill("#prompt", "still works")
    assert sent(page)["model_id"] == page.locator("#model").input_value()


def test_sizes_are_presets_or_free_within_limits(page: Page):
    page.fill("#prompt", "a hill")
    expect(page.locator("#size-value")).to_have_text("256 × 256 · 1:1")
    page.locator("#sizes label", has_text="16:9").click()
    expect(page.locator("#size-value")).to_contain_text("336 × 192")
    assert {k: sent(page)["settings"][k] for k in ("width", "height")} == {"width": 336, "height": 192}

    page.locator("#sizes label", has_text="Free").click()
    page.fill("#width", "300")
    page.fill("#height", "9000")
    page.locator("#height").blur()
    expect(page.locator("#width")).to_have_value("304")
    expect(page.locator("#height")).to_have_value("512")
    page.get_by_role("button", name="Swap width and height").click()
    expect(page.locator("#width")).to_have_value("512")
    settings = sent(page)["settings"]
    assert (settings["width"], settings["height"]) == (512, 304)


def test_a_model_without_a_default_size_gets_none(page: Page):
    page.select_option("#model", "open")
    page.fill("#prompt", "a hill")
    expect(page.locator("#size-value")).to_have_text("the model’s own")
    assert "width" not in sent(page)["settings"]


def test_the_seed_is_random_locked_or_the_last_one(page: Page):
    page.fill("#prompt", "a hill")
    page.locator("details.fine summary").click()
    assert sent(page)["settings"]["seed"] == -1
    expect(page.locator("#job-panel .picture img.there")).to_be_visible()
    used = re.search(r"seed (\d+)", page.locator("#job-panel .facts").inner_text()).group(1)
    page.get_by_role("button", name="Use last").click()
    expect(page.locator("#seed")).to_have_value(used)
    expect(page.locator("#seed-lock")).to_have_attribute("aria-pressed", "true")
    assert sent(page)["settings"]["seed"] == int(used)
    page.get_by_role("button", name="Lock").click()
    expect(page.locator("#seed")).to_have_value("")
    page.fill("#seed", "12x")
    page.locator("#generate").click()
    expect(page.locator("#form-error")).to_contain_text("seed")
    page.fill("#seed", "12")
    assert sent(page)["settings"]["seed"] == 12


def test_negative_prompt_guidance_and_count(page: Page):
    page.fill("#prompt", "a hill")
    page.locator("details.fine summary").click()
    page.fill("#negative", "clouds")
    page.locator("#guidance").fill("7.5")
    page.locator("#count label", has_text="2").click()
    body = sent(page)
    assert body["negative_prompt"] == "clouds"
    assert body["settings"]["guidance_scale"] == 7.5
    assert body["settings"]["num_images"] == 2
    page.select_option("#model", "fixed")
    expect(page.locator("#negative-field")).to_be_hidden()
    assert "negative_prompt" not in sent(page)


def test_an_example_prompt_fills_the_form(page: Page):
    page.get_by_role("button", name="a sunset over mountains").click()
    expect(page.locator("#prompt")).to_have_value("a sunset over mountains")
    page.get_by_role("button", name="Try an example").click()
    page.get_by_role("button", name="Try an example").click()
    expect(page.locator("#prompt")).to_have_value("a red boat on a calm sea")


def test_a_sampler_is_chosen_among_those_that_fit_the_model(page: Page):
    page.fill("#prompt", "a hill")
    page.locator("details.fine summary").click()
    options = page.locator("#scheduler option")
    expect(options).to_have_text(["The model’s own", "Euler", "Euler a", "DPM++ 2M"])
    assert "scheduler" not in sent(page)["settings"]
    page.select_option("#scheduler", "euler_a")
    assert sent(page)["settings"]["scheduler"] == "euler_a"
    page.select_option("#model", "open")  # nothing is known of its schedulers
    expect(page.locator("#scheduler-field")).to_be_hidden()
    assert "scheduler" not in sent(page)["settings"]
    page.select_option("#model", "painter")
    expect(page.locator("#scheduler")).to_have_value("euler_a")


def test_the_sampler_of_a_picture_comes_back_with_its_noise_levels(page: Page):
    restore = (
        "settings => import('./static/js/restore.js').then((it) => it.useSettings({ prompt: 'a hill', settings }))"
    )
    page.evaluate(restore, {"scheduler": "DPM++ 2M", "sigmas": "karras"})
    settings = sent(page)["settings"]
    assert (settings["scheduler"], settings["sigmas"]) == ("dpmpp_2m", "karras")
    page.locator("details.fine summary").click()
    page.select_option("#scheduler", "euler_a")  # another one has its own
    assert "sigmas" not in sent(page)["settings"]
    page.evaluate(restore, {"scheduler": None, "sigmas": None})
    assert "scheduler" not in sent(page)["settings"]

"""A default installation with the built-in model: the first image needs two clicks."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.config import ROOT
from tests.browser.harness import Harness
from tools.tiny_models.lora import make_lora

log = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "builtin/demo/model_index.json").exists(), reason="the built-in model is not here"),
]


def test_the_first_image_needs_two_clicks(new_page: Callable[..., Page], new_harness: Callable[..., Harness]):
    harness = new_harness(DEFAULT_MODEL_ID="demo", WORKERS="1").open_as_people_do()
    began = time.monotonic()
    page = new_page(harness.url)
    page.locator("#job-panel .example").first.click()
    page.locator("#generate").click()
    picture = page.locator("#job-panel .picture img")
    expect(picture).to_have_class(re.compile("there"), timeout=120_000)  # received and decoded, not only in its place
    took = time.monotonic() - began
    log.info("From opening the page to the picture, the model not loaded before: %.1f s", took)
    shades = """image => {
      const canvas = document.createElement("canvas");
      const brush = canvas.getContext("2d");
      brush.drawImage(image, 0, 0);
      return new Set(brush.getImageData(0, 0, 256, 256).data).size;
    }"""
    assert picture.evaluate(shades) > 50  # a picture, not a plain colour


def test_a_lora_of_the_model_is_offered_used_and_restored(
    new_page: Callable[..., Page], new_harness: Callable[..., Harness]
):
    harness = new_harness(DEFAULT_MODEL_ID="demo", WORKERS="1")
    make_lora(ROOT / "builtin" / "demo", harness.folder / "models" / "loras" / "glow.safetensors", strength=0.3)
    page = new_page(harness.open_as_people_do().url)
    page.locator(".fine summary").click()
    page.get_by_label("glow", exact=True).check()
    page.get_by_label("Scale of glow").fill("0.5")
    page.locator("#prompt").fill("a red circle on a blue background")
    with page.expect_request("**/api/generate") as request:
        page.locator("#generate").click()
    assert request.value.post_data_json["settings"]["loras"] == [{"id": "glow", "scale": 0.5}]
    expect(page.locator("#job-panel .picture img")).to_be_visible(timeout=120_000)
    page.get_by_label("glow", exact=True).uncheck()
    expect(page.get_by_label("Scale of glow")).to_be_hidden()
    page.locator("#job-panel").get_by_role("button", name="Use these settings").click()
    expect(page.get_by_label("Scale of glow")).to_have_value("0.5")
    expect(page.locator("#fine-summary")).to_contain_text("1 LoRA")
    page.locator("#model").select_option("painter")
    expect(page.locator("#lora-field")).to_be_hidden()

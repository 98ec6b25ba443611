"""The product as it is started by people, with the built-in model: a newcomer has a picture after two clicks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.config import ROOT
from tests.browser.house import House

log = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "builtin/demo/model_index.json").exists(), reason="the built-in model is not here"),
]


def test_a_newcomer_has_a_picture_after_two_clicks(new_page: Callable[..., Page], new_house: Callable[..., House]):
    house = new_house(DEFAULT_MODEL_ID="demo", WORKERS="1").open_as_people_do()
    began = time.monotonic()
    page = new_page(house.url)
    page.locator("#hero .example").first.click()
    page.locator("#generate").click()
    picture = page.locator("#hero .picture img")
    expect(picture).to_be_visible(timeout=120_000)
    took = time.monotonic() - began
    log.info("From opening the page to the picture, the model not loaded before: %.1f s", took)
    shades = """image => {
      const canvas = document.createElement("canvas");
      const brush = canvas.getContext("2d");
      brush.drawImage(image, 0, 0);
      return new Set(brush.getImageData(0, 0, 256, 256).data).size;
    }"""
    assert picture.evaluate(shades) > 50  # a picture, not a plain colour

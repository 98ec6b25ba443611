"""The JavaScript of the documentation runs on a page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.config import ROOT
from tests.browser.harness import Harness

EXAMPLES = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "V1.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_a_picture_over_the_websocket(new_page: Callable[..., Page], new_harness: Callable[..., Harness]) -> None:
    harness = new_harness(DEFAULT_MODEL_ID="demo", WORKERS="1").open_as_people_do()
    page = new_page(harness.url)
    (example,) = EXAMPLES
    page.evaluate(f"() => {{ {example.replace('127.0.0.1:5050', harness.url.removeprefix('http://'))} }}")
    picture = page.locator("body > img")
    expect(picture).to_be_attached(timeout=120_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256

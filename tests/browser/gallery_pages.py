"""What browser tests of the gallery share: pictures, masks and many rows."""

from __future__ import annotations

import base64
import itertools
import json
import sqlite3
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, expect

from tests.browser.harness import Harness

_numbers = itertools.count()


def pictures(page: Page) -> Locator:
    return page.locator(".grid a.tile")


def choose_work(page: Page, name: str) -> None:
    """An entry of the menu of what can be done with the picture that is open, or on the stage."""
    within = page.locator("dialog.lightbox[open], #job-panel").last
    within.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name=name, exact=True).click()


def work_menu(page: Page) -> list[str]:
    """The names of all entries of that menu, which is closed again."""
    page.locator("dialog.lightbox[open], #job-panel").last.get_by_role("button", name="More").click()
    entries = page.get_by_role("menuitem")
    expect(entries.first).to_be_focused()
    found = entries.all_inner_texts()
    page.keyboard.press("Escape")
    return found


def a_word() -> str:
    """One that no other test has in its prompts."""
    number = next(_numbers)  # in letters: digits are searched for, too
    return "zebra" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03}")


def made(harness: Harness, word: str, count: int = 3) -> list[dict[str, Any]]:
    """Pictures that `word` finds, the first made first."""
    jobs = [harness.made(f"{word} number {n}", seed=n, num_inference_steps=4) for n in range(count)]
    return [job["images"][0] for job in jobs]


def found(harness: Harness, word: str, more: str = "") -> list[str]:
    """The ids of what `word` finds on the server, newest first."""
    items = harness.call(f"/api/images?search={word}&limit=200{more}")["images"]
    return [item["image_id"] for item in items]


def open_gallery(page: Page, harness: Harness, word: str, count: int) -> Page:
    page.goto(f"{harness.url}/#/gallery?search={word}")
    expect(pictures(page)).to_have_count(count)
    return page


def a_mask(width: int = 256, height: int = 256, box: tuple[int, int, int, int] = (60, 60, 140, 140)) -> str:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    file = BytesIO()
    mask.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def repainted(harness: Harness, word: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """The id of a picture, and the status of the job that repainted a part of it."""
    source = harness.made(f"{word} source", seed=1, num_inference_steps=4)["images"][0]["image_id"]
    body = {
        "prompt": f"{word} repainted",
        "model_id": "retoucher",
        "image": source,
        "mask": a_mask(),
        "settings": {"seed": 2, "num_inference_steps": 4, "strength": 0.9, **settings},
    }
    return source, harness.ended(harness.call("/api/generate", body)["job_id"])


def multiply(database: Path, count: int, prompt: str = "picture number") -> None:
    """`count` rows like the first output; their file is one."""
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM outputs").fetchone())
        rows = []
        for n in range(1, count):
            width, height = [(256, 256), (288, 192), (192, 288)][n % 3]
            manifest = json.dumps(json.loads(row["manifest"]) | {"prompt": f"{prompt} {n}"})
            changes = {"id": f"{n:032x}", "index": n, "width": width, "height": height, "manifest": manifest}
            rows.append(tuple((row | changes | {"created_at": row["created_at"] - n}).values()))
        columns = ", ".join(f'"{name}"' for name in row)
        connection.executemany(f"INSERT INTO outputs ({columns}) VALUES ({', '.join('?' * len(row))})", rows)

"""Photograph the page in every state: desktop and phone, dark and light.

python -m tools.screenshots OUT [--painter] [--only STATE ...]

Starts a private CyberImage on loopback and drives a Chromium that is already installed. With the built-in model the
pictures are really generated; without it, or with --painter, a painter stands in. OUT gets
`page-<state>-<device>-<theme>.png`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.config import ROOT
from tests.browser.harness import House
from tests.browser.painter import prompt_of

DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}
THEMES = ("dark", "light")
SIZES = [(256, 256), (288, 192), (256, 256), (192, 288), (256, 256)]
PICTURES = 34
FAILING = {"MODEL_MISSING": "not-downloaded;/nowhere/model;A model whose files are missing;local;false"}
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"]  # fmt: skip


class Studio:
    """One house and one browser. `real` is whether the built-in model draws."""

    def __init__(self, folder: Path, browser: Any, out: Path, *, painter: bool, only: Sequence[str]) -> None:
        self.real = not painter and (ROOT / "builtin" / "demo" / "model_index.json").exists()
        self.model = "demo" if self.real else "painter"
        self.worker = "worker.py" if self.real else "tests.browser.painter"
        self.house = House(folder, DEFAULT_MODEL_ID=self.model, **FAILING)
        self._browser, self._out, self._only = browser, out, only

    def shoot(self, state: str, view: str, pose: Callable[[Any], None] = lambda page: None) -> None:
        if self._only and state not in self._only:
            return
        for device, options in DEVICES.items():
            for theme in THEMES:
                with self._page(theme, options) as page:
                    page.goto(f"{self.house.url}/#/{view}")
                    page.locator("#model option").first.wait_for(state="attached")
                    page.wait_for_timeout(500)
                    pose(page)
                    page.wait_for_timeout(600)
                    page.screenshot(path=self._out / f"page-{state}-{device}-{theme}.png")

    @contextmanager
    def _page(self, theme: str, options: dict[str, Any]) -> Iterator[Any]:
        context = self._browser.new_context(**options)
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        try:
            yield context.new_page()
        finally:
            context.close()

    def prompts(self) -> list[str]:
        if self.real:
            found = next(one for one in self.house.call("/api/models")["models"] if one["id"] == self.model)
            if found["example_prompts"]:
                return list(found["example_prompts"])
        return [prompt_of(seed) for seed in range(100, 100 + PICTURES)]

    def fill_gallery(self) -> None:
        prompts = self.prompts()
        for n in range(PICTURES):
            width, height = SIZES[n % len(SIZES)]
            size = {"width": width, "height": height}
            self.house.made(prompts[n % len(prompts)], model_id=self.model, seed=100 + n, **size)

    def slow(self) -> dict[str, Any]:
        """A request that takes long enough to be photographed."""
        prompt = self.prompts()[0]
        if self.real:
            return {"prompt": prompt, "num_inference_steps": 50, "num_images": 4}
        return {"prompt": f"{prompt}, slow and calm", "num_inference_steps": 12}


def generate(prompt: str) -> Callable[[Any], None]:
    def pose(page: Any) -> None:
        page.fill("#prompt", prompt)
        page.locator("#generate").click()
        page.locator("#hero .picture img.there").wait_for()

    return pose


def fail(studio: Studio) -> Callable[[Any], None]:
    def pose(page: Any) -> None:
        if studio.real:
            page.select_option("#model", "not-downloaded")
        page.fill("#prompt", "a castle in the clouds" if studio.real else "a broken castle")
        page.locator("#generate").click()
        page.locator("#hero .failure").wait_for()

    return pose


def look_closer(page: Any) -> None:
    page.locator(".wall a.tile").nth(3).click()
    page.locator(".lightbox dl dd").nth(6).wait_for()


def cut_the_line(page: Any) -> None:
    page.route("**/*", lambda route: route.abort())
    page.locator("#banner[data-state=offline]").wait_for()


def work(studio: Studio) -> Callable[[Any], None]:
    def pose(page: Any) -> None:
        clear(studio.house)
        slow = studio.slow()
        page.fill("#prompt", slow["prompt"])
        page.locator("#steps").fill(str(slow["num_inference_steps"]))
        if slow.get("num_images"):
            page.locator("#count label", has_text=str(slow["num_images"])).click()
        page.locator("#generate").click()
        page.wait_for_timeout(300)
        page.fill("#prompt", studio.prompts()[1])
        page.locator("#generate").click()
        page.locator("#hero .preview:not([hidden])").wait_for()
        if not studio.real:
            page.locator("#hero .standing", has_text="Step 6").wait_for()

    return pose


def line_up(studio: Studio) -> Callable[[Any], None]:
    def pose(page: Any) -> None:
        clear(studio.house)
        slow = studio.slow()
        studio.house.submit(slow.pop("prompt"), studio.model, **slow)
        for prompt in studio.prompts()[1:5]:
            studio.house.submit(prompt, studio.model)
        page.locator(".row .standing", has_text="Step").wait_for()
        page.wait_for_timeout(900)

    return pose


def clear(house: House) -> None:
    queue = house.call("/api/queue")
    for job in [*queue["waiting"], *queue["running"]]:
        house.call(f"/api/jobs/{job['job_id']}/cancel", method="POST")
    house.quiet()


def photograph(studio: Studio) -> None:
    house = studio.house.open(studio.worker)
    studio.shoot("empty", "")
    studio.shoot("empty-gallery", "gallery")
    studio.fill_gallery()
    studio.shoot("welcome", "")
    studio.shoot("create", "", generate(studio.prompts()[0]))
    studio.shoot("busy", "", work(studio))
    clear(house)
    studio.shoot("gallery", "gallery")
    studio.shoot("lightbox", "gallery", look_closer)
    studio.shoot("queue", "queue", line_up(studio))
    studio.shoot("status", "status", lambda page: page.wait_for_timeout(7000))
    clear(house)
    studio.shoot("error", "", fail(studio))
    studio.shoot("offline", "", cut_the_line)


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--painter", action="store_true", help="do not use the built-in model")
    parser.add_argument("--only", nargs="+", default=(), metavar="STATE", help="only these states")
    asked = parser.parse_args()
    out: Path = asked.out
    out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cyberimage-studio-") as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        studio = Studio(Path(folder), browser, out, painter=asked.painter, only=asked.only)
        with studio.house:
            photograph(studio)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Checkers of other people have nothing to say about the page: eslint, html-validate, the Nu checker, Lighthouse."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from app.config import ROOT
from tests.browser.conftest import SWITCHES, find_chromium
from tests.browser.gallery_pages import a_word, made, open_gallery, pictures
from tests.browser.harness import Harness
from tests.browser.test_quality import VIEWS, go
from tests.browser.test_sign_in import Guarded, guarded
from tests.node.packages import HERE, PACKAGES, require_packages, run_node, run_program

__all__ = ["guarded"]  # a fixture

NU = PACKAGES / "vnu-jar" / "build" / "dist" / "vnu.jar"
LEFT_TO_SCRIPTS = "Section lacks heading"  # of views that are empty until they are opened


def test_eslint_has_nothing_to_say() -> None:
    require_packages()
    done = run_program("eslint", "--config", str(HERE / "eslint.config.js"), "app/static/js", folder=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def rendered(page: Page, studio: Harness) -> dict[str, str]:
    """The documents of all views and dialogs, as the scripts have made them."""
    found = {}
    for view in VIEWS:
        go(page, view)
        expect(page.locator("main")).to_be_visible()
        found[view] = page.content()
    go(page, "create")
    page.locator("#batch > summary").click()
    expect(page.locator(".batch-axis select")).to_be_visible()
    found["batch"] = page.content()
    page.locator("#help").click()
    expect(page.locator("#help-dialog")).to_be_visible()
    found["help"] = page.content()
    page.keyboard.press("Escape")
    word = a_word()
    made(studio, word, 2)
    open_gallery(page, studio, word, 2)
    pictures(page).first.click()
    expect(page.locator(".lightbox dl dd").last).to_be_visible()
    found["lightbox"] = page.content()
    page.locator("dialog.lightbox").get_by_role("button", name="More").click()
    expect(page.locator("#work-menu")).to_be_visible()
    found["menu"] = page.content()
    page.keyboard.press("Escape")
    page.locator("dialog.lightbox").get_by_role("button", name="Repaint a part").click()
    expect(page.locator(".canvas-box")).to_be_focused()
    found["canvas"] = page.content()
    return found


@pytest.fixture(scope="module")
def documents(browser: Browser, studio: Harness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the server sends, and what becomes of it."""
    require_packages()
    folder = tmp_path_factory.mktemp("documents")
    for name, path in (("sent", "/"), ("documentation", "/docs")):
        (folder / f"{name}.html").write_text(httpx.get(studio.url + path, headers={"Accept": "text/html"}).text)
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.goto(studio.url)
    expect(page.locator("#model option").first).to_be_attached()
    for name, text in rendered(page, studio).items():
        (folder / f"{name}.html").write_text(text)
    context.close()
    return folder


def test_html_validate_has_nothing_to_say(documents: Path) -> None:
    files = sorted(path.name for path in documents.glob("*.html"))
    assert len(files) == len(VIEWS) + 7
    done = run_program("html-validate", "--config", str(HERE / "htmlvalidate.json"), *files, folder=documents)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_nu_checker_has_nothing_to_say(documents: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("NU HTML CHECKER SKIPPED: java is not installed")
    files = sorted(map(str, documents.glob("*.html")))
    done = subprocess.run(
        ["java", "-Xmx512m", "-jar", str(NU), "--format", "json", *files], capture_output=True, text=True, timeout=180
    )
    messages = json.loads(done.stderr)["messages"]
    said = [f"{Path(one['url']).name}:{one.get('lastLine')}: {one['message']}" for one in messages]
    assert [line for line in said if LEFT_TO_SCRIPTS not in line] == []


def test_lighthouse_gives_all_views_full_marks(harness: Harness) -> None:
    """For accessibility and best practices."""
    harness.made("a quiet lake", num_inference_steps=4)
    assert missed_marks(harness.url, VIEWS) == {view: [] for view in VIEWS}


def test_lighthouse_gives_the_views_of_an_administrator_full_marks(guarded: Guarded) -> None:
    signed_in = httpx.post(f"{guarded.harness.url}/api/session", json={"token": guarded.tokens["root"]})
    ((name, value),) = signed_in.raise_for_status().cookies.items()
    views = ("queue", "keys")
    assert missed_marks(guarded.harness.url, views, COOKIE=f"{name}={value}") == {view: [] for view in views}


def missed_marks(url: str, views: Sequence[str], **environment: str) -> dict[str, list]:
    require_packages()
    done = run_node("lighthouse.mjs", find_chromium(), url, *views, "--", *SWITCHES, folder=HERE, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)

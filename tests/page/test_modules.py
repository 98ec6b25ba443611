"""Modules of the page by themselves, without a browser: by Node's test runner, with happy-dom as their document."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from app.config import ROOT
from tests.node.packages import PACKAGES, require_packages, run_node

HERE = Path(__file__).parent
SUITES = sorted(path.name for path in HERE.glob("*.test.mjs"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server sends for the page, without the scripts, which the tests import."""
    pages = Environment(loader=FileSystemLoader(ROOT / "app" / "templates"), autoescape=True)
    text = pages.get_template("index.html").render(root="", auth_mode="none", remote=False, language="en", t=str)
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text("\n".join(line for line in text.splitlines() if "<script" not in line and "<link" not in line))
    return file


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests beside the modules that they import, where Node finds its packages."""
    require_packages()
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tests").mkdir()
    (folder / "tests" / "page").symlink_to(HERE)
    (folder / "app").symlink_to(ROOT / "app")
    (folder / "node_modules").symlink_to(PACKAGES)
    return folder


def test_all_suites_are_found() -> None:
    assert {"batch-values", "form-state", "format", "jobs", "palette-match", "png", "recipe", "strings"} <= {
        name.removesuffix(".test.mjs") for name in SUITES
    }


@pytest.mark.parametrize("suite", SUITES)
def test_modules_of_the_page(modules: Path, page: Path, suite: str) -> None:
    flags = ("--preserve-symlinks", "--preserve-symlinks-main", "--test")
    done = run_node(*flags, f"tests/page/{suite}", folder=modules, PAGE=str(page))
    assert done.returncode == 0, done.stdout + done.stderr

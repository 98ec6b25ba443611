"""The tables of tools in the documentation have the versions that the tests run."""

from __future__ import annotations

import json
import re

import pytest

from app.config import ROOT
from tests.deploy.test_locks import locked

PACKAGES = json.loads((ROOT / "tests" / "node" / "package.json").read_text())["devDependencies"]
LOCKED = {name: version.removeprefix("==") for name, version in locked("run", "dev", "client-generator").items()}
OTHER_NAMES = {"standardwebhooks (Python)": LOCKED["standardwebhooks"]}
OTHER_NAMES |= {"standardwebhooks (JavaScript)": PACKAGES["standardwebhooks"]}


def rows(page: str) -> list[tuple[str, str]]:
    """The tools and versions of the page's table `tool | version | what was run | result`."""
    text = (ROOT / "docs" / page).read_text()
    _, _, table = text.partition("| tool | version | what was run | result |\n|---|---|---|---|\n")
    cells = [line.split("|") for line in table.split("\n\n")[0].splitlines()]
    names = [(row[1].strip(), row[2].strip()) for row in cells]
    return [pair for tools, versions in names for pair in zip(tools.split(" + "), versions.split(", "), strict=True)]


@pytest.mark.parametrize(("page", "least"), [("CLIENTS.md", 12), ("DEPLOYMENT.md", 6)])
def test_the_versions_are_those_that_are_installed(page: str, least: int) -> None:
    known = LOCKED | PACKAGES | OTHER_NAMES
    stated = [(tool, version) for tool, version in rows(page) if tool in known]
    assert len(stated) >= least
    assert stated == [(tool, known[tool]) for tool, _ in stated]


def test_packages_of_npm_are_pinned() -> None:
    assert [name for name, version in PACKAGES.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []

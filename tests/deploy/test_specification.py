"""docs/SPECIFICATION.md names files and tests that exist."""

from __future__ import annotations

import re

import pytest

from app.config import ROOT

ROWS = re.findall(r"^\| (.+) \| (\S+) \| (\S+) \|$", (ROOT / "docs" / "SPECIFICATION.md").read_text(), re.MULTILINE)


def test_every_line_of_a_table_is_read() -> None:
    lines = (ROOT / "docs" / "SPECIFICATION.md").read_text().splitlines()
    tables = [
        line for line in lines if line.startswith("|") and "---" not in line and not line.startswith("| promise ")
    ]
    assert len(ROWS) - lines.count("| promise | where | test |") == len(tables)


@pytest.mark.parametrize(("where", "test"), [row[1:] for row in ROWS if row[0] != "promise"])
def test_a_promise_has_its_place_and_its_test(where: str, test: str) -> None:
    assert (ROOT / where).exists()
    file, _, name = test.partition("::")
    assert re.search(rf"def {name}\(", (ROOT / file).read_text())

"""The examples of docs/CLIENTS.md, by the heading they stand under."""

from __future__ import annotations

import re

from app.config import ROOT

PAGE = (ROOT / "docs" / "CLIENTS.md").read_text()
ADDRESS = "http://127.0.0.1:5050"


def examples(heading: str, language: str, url: str = ADDRESS) -> list[str]:
    """The code blocks of `language` under `### heading`, for the server at `url`."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, f"docs/CLIENTS.md has no heading {heading!r}"
    blocks = re.findall(rf"^```{language}\n(.*?)^```", found[1], re.M | re.S)
    assert blocks, f"docs/CLIENTS.md has no {language} under {heading!r}"
    return [block.replace(ADDRESS, url) for block in blocks]


def example(heading: str, language: str, url: str = ADDRESS) -> str:
    (only,) = examples(heading, language, url)
    return only

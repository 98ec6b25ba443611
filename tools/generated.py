"""Pages of the documentation that are generated from the code: written, or compared with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.config import ROOT


def write(pages: Mapping[Path, str], *, check: bool) -> int:
    """Write the pages whose text differs, and print their names. With `check` write none, and return 1 if any does."""
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is not up to date; run: make docs' if check else 'written'}")
        if not check:
            path.write_text(pages[path])
    return 1 if check and stale else 0

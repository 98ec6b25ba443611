"""Which tests `make check` leaves out, without importing them, and the order in which xdist hands them out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

HERE = Path(__file__).parent
# What `make check` leaves to `make test`: folders whose tests load torch, start processes or servers, or draw, those of
# the façades, which repeat for theirs what the native API's tests show, and files that try every route in every way.
THOROUGH = {
    "a1111",
    "bench",
    "cli",
    "client",
    "demo_model",
    "deploy",
    "e2e",
    "engines",
    "hostile",
    "mcp",
    "monitoring",
    "openai",
    "process",
    "providers",
    "server",
    "tools",
    "v1",
    "webhooks",
    "worker",
    "test_facade_rules.py",
    "test_plans.py",
    "test_rate_limits.py",
    "test_signed_urls.py",
    "test_walk.py",
}
FOLDERS_WITH_MARKS = {"e2e", "browser"}  # all of their tests have the mark of that name
# Folders whose files take longest: they begin first, so that no process is left alone with one at the end.
LONGEST_FIRST = ("e2e", "browser", "hostile", "providers", "engines", "worker", "cli", "core")


def _folders(path: Path) -> set[str]:
    return set(path.relative_to(HERE).parts) if path.is_relative_to(HERE) else set()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which `-m` selects nothing: importing them may take longer than the tests that are left."""
    terms = re.split(r" (and|or) ", config.option.markexpr or "")
    if "or" not in terms[1::2]:
        left_out = {term.removeprefix("not ") for term in terms[::2] if term.startswith("not ")}
        folders = _folders(collection_path)
        unwanted = ("slow" in left_out and THOROUGH & folders) or left_out & folders & FOLDERS_WITH_MARKS
        return True if unwanted else None
    if "and" not in terms[1::2] and FOLDERS_WITH_MARKS.issuperset(terms[::2]):
        return None if _has_marked(collection_path, set(terms[::2])) else True
    return None


def _has_marked(path: Path, marks: set[str]) -> bool:
    """Whether a test in the file or folder can have one of these marks."""
    if marks & _folders(path):
        return True
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    return any(f"mark.{mark}" in file.read_text() for file in files for mark in marks) or any(
        path.is_dir() and (path / mark).is_dir() for mark in marks
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of those folders slow, those on PostgreSQL too, which also run on SQLite; and those of the folder
    e2e as such. Then sort them."""
    for item in items:
        folders = _folders(item.path)
        if THOROUGH & folders or "postgres" in item.name:
            item.add_marker(pytest.mark.slow)
        if "e2e" in folders:
            item.add_marker(pytest.mark.e2e)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folders = _folders(item.path)
    return next((rank for rank, name in enumerate(LONGEST_FIRST) if name in folders), len(LONGEST_FIRST))


class FilesAndGroups(LoadGroupScheduling):
    """The tests of an xdist group run in one process, and those of any other file too: they share its fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0] if scope == nodeid else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesAndGroups | None:
    return FilesAndGroups(config, log) if config.getvalue("dist") == "loadgroup" else None

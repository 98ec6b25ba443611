"""app/core is pure: it draws nothing, reads no clock and no file, and makes no URLs. Callers pass such values in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import ROOT

IMPURE = {"contextvars", "glob", "io", "os", "pathlib", "random", "secrets", "shutil", "socket", "subprocess"} | {
    "tempfile",
    "time",
    "urllib.request",
    "uuid",
}
IMPURE_CALLS = {"now", "utcnow", "today", "open"}  # datetime.now(), date.today(), open()
FILES = sorted((ROOT / "app" / "core").rglob("*.py"))


def impurities(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        else:
            modules = set()
        for module in sorted(modules):
            if module in IMPURE or module.partition(".")[0] in IMPURE:
                yield f"line {node.lineno}: import of {module}"
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in IMPURE_CALLS:
                yield f"line {node.lineno}: call of {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_reads_no_clock_and_draws_nothing(path: Path) -> None:
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import time",
        "import os.path",
        "from pathlib import Path",
        "from random import uniform",
        "def draw():\n    import secrets",
        "from uuid import uuid4",
        "from urllib import request",
        "from contextvars import ContextVar",
        "datetime.now(UTC)",
        "date.today()",
        "open('settings')",
    ],
)
def test_a_planted_one_is_seen(planted: str) -> None:
    assert len(list(impurities(planted))) >= 1


def test_what_is_pure_is_allowed() -> None:
    assert list(impurities("from urllib.parse import urlsplit\ndatetime.fromtimestamp(5, UTC)")) == []

"""Names and docstrings use the field's words (docs/GLOSSARY.md), not private metaphors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import ROOT

# What was once here, and what it is called now.
METAPHORS = {
    "keeper": "heartbeat",
    "crew": "executor",
    "errand": "command",
    "courier": "dispatcher",
    "newsroom": "notifier",
    "doorbell": "notifier",
    "bell": "notifier",
    "desk": "hub",
    "teller": "encoder",
    "door": "access_control",
    "outlook": "estimator",
    "stray": "abandoned",
    "strays": "abandoned",
    "chore": "periodic_task",
    "glance": "probe",
    "lifeline": "parent_watch",
    "lament": "prefix",
    "apologise": "error_event",
    "overseer": "arbiter",
    "whoever": "client, caller, worker",
    "nobody": "none, no client",
    "somebody": "another client",
    "everybody": "all",
    "anybody": "any client",
    "strangers": "unknown",
}
PROSE = re.compile(r"\b(whoever|nobody|somebody|everybody|anybody)\b", re.IGNORECASE)
FILES = [path for path in sorted((ROOT / "app").rglob("*.py")) if "migrations" not in path.parts]


def words(name: str) -> set[str]:
    """`_EventStreamHub` and `event_stream_hub` both have the words event, stream and hub."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def names(path: Path) -> Iterator[str]:
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_docstrings_use_the_fields_words(path: Path) -> None:
    wrong = [f"{name}: say {METAPHORS[word]}" for name in names(path) for word in words(name) & METAPHORS.keys()]
    wrong += [f"docstring says {found[0]!r}" for text in docstrings(path) for found in PROSE.finditer(text)]
    assert wrong == [], f"{path}: {wrong}"


def test_a_metaphor_is_found_in_any_spelling() -> None:
    assert words("_HeartbeatKeeper") & words("keeper_of_leases") == {"keeper"}
    assert words("HTTPServer2") == {"http", "server2"}

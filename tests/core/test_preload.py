"""PRELOAD: which models a worker loads before its first job."""

from __future__ import annotations

import pytest

from app.core.catalog import Catalog
from app.core.catalog_lines import build_catalog
from app.core.preload import parse_preload
from app.errors import ConfigurationError

LINES = {
    "MODEL_A": "painter;studio/painter;A;huggingface;false;{}",
    "MODEL_B": "far;owner/far;B;replicate;false;{}",
}


def catalog(default: str = "demo") -> Catalog:
    return build_catalog(LINES, default)


@pytest.mark.parametrize(
    ("text", "libraries", "models"),
    [
        ("none", False, []),
        ("libraries", True, []),
        (" Libraries ", True, []),
        ("default", True, ["demo"]),
        ("painter", True, ["painter"]),
        ("demo, studio/painter,DEMO", True, ["demo", "painter"]),
        ("", True, []),
    ],
)
def test_what_it_says(text: str, libraries: bool, models: list[str]) -> None:
    found = parse_preload(text, catalog())
    assert (found.libraries, [spec.id for spec in found.models]) == (libraries, models)


def test_a_default_model_of_a_provider_is_not_loaded() -> None:
    assert not parse_preload("default", catalog("far")).models


@pytest.mark.parametrize(("text", "message"), [("paintr", "'painter'"), ("far", "runs at a provider")])
def test_what_cannot_be_loaded_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_preload(text, catalog())
    (problem,) = caught.value.problems
    assert problem.startswith("PRELOAD: ")
    assert message in problem

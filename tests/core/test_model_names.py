"""A model is found by every name that people have for it."""

from __future__ import annotations

import pytest

from app.core.catalog_lines import build_catalog
from app.core.model_names import ModelNames, NamedModel
from app.errors import ConfigurationError, UnknownModel

CATALOG = build_catalog({}, "demo")


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("flux-dev", "flux-dev"),
        ("FLUX-Dev", "flux-dev"),
        (" flux-dev ", "flux-dev"),
        ("black-forest-labs/FLUX.1-dev", "flux-dev"),
        ("black-forest-labs/flux.1-DEV", "flux-dev"),
        ("flux-1-dev", "flux-dev"),
        ("sd-xl-base", "sdxl-base"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl-base"),
        ("sd-2-1", "sd21"),
        ("stabilityai/stable-diffusion-2-1", "sd21"),  # its repository until the hub lost it
        ("sd-1-5", "sd15"),
        ("sd-3-5-large", "sd35-large"),
        ("stabilityai/stable-diffusion-3.5-large", "sd35-large"),
        ("aoxo/flux.1dev-abliteratedv2", "flux-abliterated"),
    ],
)
def test_the_built_in_models_are_found_by_their_usual_names(name: str, id: str) -> None:
    assert CATALOG.get(name).id == id
    assert CATALOG.id_of(name) == id
    assert build_catalog({}, name).default_id == id


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'sd35-large'"):
        CATALOG.get("sd3-large")
    with pytest.raises(UnknownModel) as unknown:
        CATALOG.get("zzzzzzzz")
    assert "Did you mean" not in unknown.value.detail
    assert "Known models: demo, " in unknown.value.detail
    assert CATALOG.id_of("zzzzzzzz") == "zzzzzzzz"


def test_an_id_wins_over_an_alias_and_an_alias_over_a_repository() -> None:
    names = ModelNames(
        [
            NamedModel("one", ["two", "shared"], "org/first"),
            NamedModel("two", ["shared", "org/first"], "org/second"),
            NamedModel("three", [], "org/second"),
        ]
    )
    assert names.find("two") == "two"
    assert names.find("shared") == "one"
    assert names.find("org/first") == "two"
    assert names.find("ORG/SECOND") == "two"
    assert names.find("") is None


def test_a_catalogue_line_may_have_aliases() -> None:
    lines = {"MODEL_A": 'mine;me/mine;Mine;huggingface;false;{"aliases": ["House Style"]}'}
    assert build_catalog(lines, "house style").default_id == "mine"


@pytest.mark.parametrize("aliases", ['"mine"', "[1]", '[""]'])
def test_wrong_aliases_are_refused(aliases: str) -> None:
    with pytest.raises(ConfigurationError, match="aliases"):
        build_catalog({"MODEL_A": f'mine;me/mine;Mine;huggingface;false;{{"aliases": {aliases}}}'}, "demo")


def test_a_default_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="DEFAULT_MODEL_ID"):
        build_catalog({}, "flux-devv")


def test_an_own_line_keeps_its_names_when_a_built_in_model_of_a_later_version_has_them_too() -> None:
    line = 'mine;Tongyi-MAI/Z-Image-Turbo;Mine;huggingface;false;{"aliases": ["z-image"]}'
    catalog = build_catalog({"MODEL_MINE": line}, "demo")
    assert [catalog.get(name).id for name in ("z-image", "Tongyi-MAI/Z-Image-Turbo")] == ["mine", "mine"]
    assert catalog.get("z-image-turbo").id == "z-image-turbo"

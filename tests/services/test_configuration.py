"""Settings and catalogue together: all mistakes at once, and no model beyond the installation's limits."""

from __future__ import annotations

import pytest

from app.config import load_settings
from app.core.catalog_limits import catalog_of
from app.core.request import GenerationInput, GenerationSettings
from app.core.resolve import resolve
from app.errors import ConfigurationError, InvalidRequest
from app.services.configuration import read_configuration, similar_setting

WIDE = 'wide;r;A wide model;local;false;{"defaults": {"width": 1024, "height": 1024}, "limits": {"max_width": 4096}}'


def test_mistakes_of_settings_and_model_lines_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_configuration({"PORT": "x", "MODEL_A": "one", "MODEL_B": "a;b;c;ftp;false"}, None)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["PORT", "MODEL_A", "MODEL_B"]


def test_a_misspelt_setting_that_looks_like_a_model_is_recognised() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean MODEL_IDLE_SECONDS"):
        read_configuration({"MODEL_IDLE_SECOND": "600"}, None)


def test_names_that_are_near_and_names_that_are_not() -> None:
    assert similar_setting("LEASE_SECOND") == "LEASE_SECONDS"
    assert similar_setting("queue_max_pendings") == "QUEUE_MAX_PENDING"
    assert similar_setting("EDITOR") is None


def asked(**settings: int) -> GenerationInput:
    return GenerationInput(prompt="x", settings=GenerationSettings(**settings))


def test_no_model_allows_more_than_the_installation() -> None:
    settings = load_settings(
        {"MODEL_W": WIDE, "MAX_PIXELS": "2000000", "MAX_IMAGES_PER_JOB": "2", "MAX_STEPS": "25"}, None
    )
    spec = catalog_of(settings).get("wide")
    for wrong, field in (
        ({"width": 2048, "height": 1024}, "settings"),
        ({"num_images": 3}, "settings.num_images"),
        ({"num_inference_steps": 26}, "settings.num_inference_steps"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            resolve(asked(**wrong), spec, prompt_max_chars=10, drawn_seed=5)
        assert [error.field for error in refused.value.errors] == [field]
    fine = resolve(
        asked(width=1920, height=1024, num_images=2, num_inference_steps=25), spec, prompt_max_chars=10, drawn_seed=5
    )
    assert fine.request.num_images == 2
    assert spec.steps.describe() == {"min": 20, "max": 25, "default": 25}


def test_a_model_keeps_its_own_default_size_and_fixed_steps() -> None:
    fixed = 'fixed;r;d;local;false;{"fixed_steps": 40, "defaults": {"width": 1024, "height": 1024}}'
    settings = load_settings({"MODEL_F": fixed, "MAX_PIXELS": "65536", "MAX_STEPS": "10"}, None)
    spec = catalog_of(settings).get("fixed")
    assert resolve(asked(), spec, prompt_max_chars=10, drawn_seed=5).request.num_inference_steps == 40
    assert resolve(asked(width=1024, height=1024), spec, prompt_max_chars=10, drawn_seed=5).request.width == 1024
    with pytest.raises(InvalidRequest):
        resolve(asked(width=1040, height=1024), spec, prompt_max_chars=10, drawn_seed=5)

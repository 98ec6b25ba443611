"""Fields are taken under other programs' names, with a warning, and never under two names at once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.core.catalog_lines import build_catalog
from app.core.field_aliases import REQUEST_ALIASES, SETTING_ALIASES, with_own_names
from app.core.request import GenerationInput, GenerationSettings
from app.core.resolve import resolve


def warnings_of(**fields: Any) -> tuple[str, ...]:
    asked = GenerationInput.model_validate({"prompt": "a boat", **fields})
    spec = build_catalog({}, "sd15").get(asked.model_id)
    return resolve(asked, spec, prompt_max_chars=1000, drawn_seed=1).warnings


def test_every_alias_leads_to_a_field_and_is_none_itself() -> None:
    for aliases, body in ((REQUEST_ALIASES, GenerationInput), (SETTING_ALIASES, GenerationSettings)):
        assert set(aliases.values()) <= set(body.model_fields)
        assert not set(aliases) & set(body.model_fields)


def test_values_arrive_under_our_names_and_a_warning_says_so() -> None:
    asked = GenerationInput.model_validate(
        {"prompt": "a boat", "model": "sd-1-5", "settings": {"steps": 12, "cfg_scale": 5, "n": 2}}
    )
    assert asked.model_id == "sd-1-5"
    assert asked.settings.num_inference_steps == 12
    assert asked.settings.guidance_scale == 5
    assert asked.settings.num_images == 2
    assert warnings_of(model="sd15", settings={"steps": 12}) == (
        "model was read as model_id, which is what this API calls it.",
        "steps was read as num_inference_steps, which is what this API calls it.",
    )
    assert warnings_of(model_id="sd15", settings={"num_inference_steps": 12}) == ()


@pytest.mark.parametrize(
    "settings",
    [{"steps": 1, "num_inference_steps": 2}, {"num_inference_steps": 2, "steps": 2}, {"n": 1, "batch_size": 1}],
)
def test_two_names_of_one_field_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        GenerationSettings.model_validate(settings)
    (error,) = refused.value.errors()
    assert error["type"] == "extra_forbidden"
    assert error["loc"][0] in SETTING_ALIASES


def test_null_is_absent_under_any_name() -> None:
    for settings in ({"steps": None, "num_inference_steps": 7}, {"num_inference_steps": 7, "steps": None}):
        assert GenerationSettings.model_validate(settings).num_inference_steps == 7
    found, renamed = with_own_names({"num_inference_steps": None, "steps": 7}, SETTING_ALIASES)
    assert found == {"num_inference_steps": 7}
    assert renamed == (("steps", "num_inference_steps"),)

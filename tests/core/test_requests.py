"""Resolving requests: all invalid fields are reported, and nothing is ignored silently."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.core.generation_settings import SEED_MAX
from app.core.request import GenerationInput, GenerationRequest, GenerationSettings
from app.core.resolve import DRAWN_SEED_MAX, Resolved, resolve
from app.errors import InvalidRequest, PromptTooLong


def a_spec(options: str = "") -> ModelSpec:
    return parse_model_line(f"m;some/repo;A model;local;false;{options}")


SPEC = a_spec()
PLAIN = a_spec('{"prompt_weights": false}')
WEIGHED = a_spec('{"prompt_weights": true}')
DRAWN_SEED = 123
LARGE = a_spec(
    '{"defaults": {"width": 1024, "height": 768, "guidance_scale": 3.5}, "negative_prompt": false,'
    ' "steps": {"min": 10, "max": 40, "default": 20},'
    ' "limits": {"min_width": 256, "min_height": 256, "max_width": 1536, "max_height": 1536, "multiple_of": 32,'
    ' "min_guidance_scale": 1, "max_guidance_scale": 10, "max_images": 4}}'
)


def ask(spec: ModelSpec = SPEC, *, prompt: str = "a boat", negative_prompt: str | None = None, **settings) -> Resolved:
    asked = GenerationInput(
        prompt=prompt, negative_prompt=negative_prompt, settings=GenerationSettings.model_validate(settings)
    )
    return resolve(asked, spec, prompt_max_chars=500, drawn_seed=DRAWN_SEED)


def fields_at_fault(spec: ModelSpec = SPEC, **asked) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        ask(spec, **asked)
    assert refused.value.status == 400
    return [error.field for error in refused.value.errors]


# --- gaps are filled by the model


def test_a_bare_prompt_gets_the_model_s_defaults() -> None:
    request = ask(LARGE).request
    assert (request.width, request.height, request.guidance_scale, request.num_inference_steps) == (1024, 768, 3.5, 20)
    assert (request.num_images, request.negative_prompt) == (1, None)
    assert ask().request.width is None  # the pipeline's own


def test_what_a_model_cannot_use_comes_back_as_a_warning() -> None:
    resolved = ask(LARGE, negative_prompt="fog")
    assert resolved.request.negative_prompt is None
    assert "negative prompt" in resolved.warnings[0]
    resolved = ask(a_spec('{"fixed_steps": 25}'), num_inference_steps=30)
    assert resolved.request.num_inference_steps == 25
    assert "25" in resolved.warnings[0]
    assert "30" in resolved.warnings[0]
    assert ask(a_spec('{"fixed_steps": 25}'), num_inference_steps=25).warnings == ()


# --- steps


@pytest.mark.parametrize(
    ("steps", "usual"), [(1, False), (9, False), (10, True), (40, True), (41, False), (100, False)]
)
def test_steps_outside_a_declared_range_run_with_a_warning(steps: int, usual: bool) -> None:
    """Lightning, LCM and Hyper LoRAs need 1 to 8 steps of models that are made for 20 and more."""
    resolved = ask(LARGE, num_inference_steps=steps)
    assert resolved.request.num_inference_steps == steps
    assert any("made for 10 to 40 steps" in warning for warning in resolved.warnings) is not usual


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_a_declared_range_lets_no_other_number_in(steps: int) -> None:
    assert fields_at_fault(LARGE, num_inference_steps=steps) == ["settings.num_inference_steps"]


def test_a_range_above_a_hundred_and_the_limit_of_an_operator_are_kept() -> None:
    many = a_spec('{"steps": {"min": 10, "max": 200, "default": 150}}')
    assert ask(many, num_inference_steps=200).request.num_inference_steps == 200
    assert fields_at_fault(many, num_inference_steps=201) == ["settings.num_inference_steps"]
    few = a_spec('{"steps": {"min": 10, "max": 40}, "limits": {"max_steps": 40}}')
    assert fields_at_fault(few, num_inference_steps=41) == ["settings.num_inference_steps"]


@pytest.mark.parametrize(("steps", "ok"), [(0, False), (1, True), (100, True), (101, False)])
def test_a_silent_line_takes_one_to_a_hundred_steps_whatever_its_slider_shows(steps: int, ok: bool) -> None:
    assert SPEC.steps.describe() == {"min": 20, "max": 50, "default": 30}
    assert ask().request.num_inference_steps == 30
    if ok:
        assert ask(num_inference_steps=steps).request.num_inference_steps == steps
    else:
        assert fields_at_fault(num_inference_steps=steps) == ["settings.num_inference_steps"]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ('{"steps": {"min": 1, "max": 4}}', {"min": 1, "max": 4, "default": 4}),
        ('{"steps": {"min": 40, "max": 60}}', {"min": 40, "max": 60, "default": 40}),
        ('{"steps": {"max": 60}}', {"min": 1, "max": 60, "default": 30}),
        ('{"steps": {"default": 12}}', {"min": 1, "max": 100, "default": 12}),
    ],
)
def test_half_a_rule_is_completed_sensibly(options: str, rule: dict[str, int]) -> None:
    assert a_spec(options).steps.describe() == rule


# --- sizes


@pytest.mark.parametrize("width", [224, 255, 257, 1000, 1568, 0, -512, 10**9])
def test_sizes_outside_the_limits_or_off_the_grid_are_refused(width: int) -> None:
    assert fields_at_fault(LARGE, width=width, height=512) == ["settings.width"]
    assert fields_at_fault(LARGE, width=512, height=width) == ["settings.height"]
    assert fields_at_fault(LARGE, width=width, height=width) == ["settings.width", "settings.height"]


def test_one_size_alone_needs_a_model_that_states_the_other() -> None:
    assert ask(LARGE, width=256).request.height == 768
    assert fields_at_fault(width=512) == ["settings"]


# --- guidance, number of images, several faults


def test_guidance_and_number_of_images_keep_the_model_s_limits() -> None:
    assert fields_at_fault(LARGE, guidance_scale=0.5) == ["settings.guidance_scale"]
    assert fields_at_fault(LARGE, guidance_scale=10.5) == ["settings.guidance_scale"]
    assert fields_at_fault(LARGE, num_images=5) == ["settings.num_images"]
    assert ask(LARGE, guidance_scale=1, num_images=4).request.guidance_scale == 1.0


def test_all_faults_are_reported_at_once() -> None:
    faults = fields_at_fault(LARGE, width=7, height=7, num_inference_steps=199, guidance_scale=99.0, num_images=8)
    assert {fault.removeprefix("settings.") for fault in faults} == {
        "width",
        "height",
        "num_inference_steps",
        "guidance_scale",
        "num_images",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance_scale": float("nan")},
        {"guidance_scale": float("inf")},
        {"guidance_scale": "7"},
        {"width": 512.5},
        {"width": "512"},
        {"width": True},
        {"seed": -2},
        {"seed": SEED_MAX + 1},
        {"seed": 1.5},
        {"num_images": 0},
        {"num_images": 9},
        {"stepz": 20},
    ],
)
def test_wrong_types_and_unknown_names_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GenerationSettings.model_validate(settings)


# --- seeds


@pytest.mark.parametrize("seed", [None, -1])
def test_the_drawn_seed_is_used_for_a_random_one(seed: int | None) -> None:
    assert ask(seed=seed, num_images=8).request.seed == DRAWN_SEED


def test_a_drawn_seed_leaves_room_for_every_image() -> None:
    assert ask(seed=DRAWN_SEED_MAX, num_images=8).request.seed == DRAWN_SEED_MAX


def test_a_given_seed_is_used_and_must_leave_room_for_every_image() -> None:
    for seed in (0, 1, SEED_MAX):
        assert ask(seed=seed).request.seed == seed
    assert ask(seed=SEED_MAX - 7, num_images=8).request.seed == SEED_MAX - 7
    assert fields_at_fault(seed=SEED_MAX - 6, num_images=8) == ["settings.seed"]


# --- prompts


@pytest.mark.parametrize(
    "prompt", ["ein Boot", "船と猫", "🛶" * 500, "café au lait", "a\tb\nc", "שלום", "<b>&amp;'\";--"]
)
def test_prompts_in_any_script_pass_unchanged(prompt: str) -> None:
    assert ask(prompt=f"  {prompt} \n").request.prompt == prompt


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t ", "\u3000"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    assert fields_at_fault(prompt=prompt) == ["prompt"]


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\x08", "\ud800"])
def test_control_characters_and_lone_surrogates_are_refused_by_their_number(character: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"U\+{ord(character):04X}"):
        ask(prompt=f"a{character}b")
    assert fields_at_fault(negative_prompt=f"a{character}b") == ["negative_prompt"]


def test_the_length_counts_characters_after_trimming() -> None:
    assert ask(prompt=" " * 100 + "é" * 500 + " " * 100).request.prompt == "é" * 500
    with pytest.raises(PromptTooLong, match="501") as refused:
        ask(prompt="x" * 501)
    assert refused.value.code == "prompt_too_long"
    with pytest.raises(PromptTooLong, match="negative_prompt"):
        ask(negative_prompt="x" * 501)


@given(st.text(max_size=600))
def test_whatever_the_prompt_it_is_taken_as_it_is_or_refused(prompt: str) -> None:
    with contextlib.suppress(InvalidRequest):
        taken = ask(prompt=prompt).request.prompt
        assert taken == prompt.strip()
        taken.encode()


# --- with a picture


def with_picture(spec: ModelSpec = SPEC, *, mask: str | None = None, **settings) -> Resolved:
    wanted = GenerationSettings.model_validate(settings)
    return resolve(
        GenerationInput(prompt="a boat", image="x", mask=mask, settings=wanted),
        spec,
        prompt_max_chars=500,
        drawn_seed=DRAWN_SEED,
    )


def test_the_pictures_say_what_the_task_is() -> None:
    assert ask().request.task == "txt2img"
    assert (with_picture().request.task, with_picture().request.strength) == ("img2img", 0.75)
    assert (with_picture(mask="x").request.task, with_picture(mask="x").request.strength) == ("inpaint", 1.0)
    assert with_picture(LARGE).request.width is None  # the picture's own, once it was read
    assert with_picture(LARGE, width=512).request.width == 512


def test_a_mask_needs_an_image() -> None:
    with pytest.raises(InvalidRequest, match="mask: needs an image"):
        resolve(GenerationInput(prompt="a boat", mask="x"), SPEC, prompt_max_chars=500, drawn_seed=DRAWN_SEED)


def test_no_steps_of_a_picture_are_refused_for_themselves() -> None:
    with pytest.raises(InvalidRequest) as refused:
        with_picture(num_inference_steps=0)
    assert [error.field for error in refused.value.errors] == ["settings.num_inference_steps"]


def test_strength_leaves_at_least_one_step() -> None:
    assert with_picture(strength=1, num_inference_steps=20).request.steps_run == 20
    assert with_picture(strength=0.5, num_inference_steps=20).request.steps_run == 10
    assert with_picture(strength=0.05, num_inference_steps=20).request.steps_run == 1
    for strength, steps, least in ((0, 20, 0.05), (0.04, 20, 0.05), (0.02, 30, 0.034), (0.9, 1, 1)):
        with pytest.raises(InvalidRequest, match=f"of {steps} steps leaves none.*; use {least:g} or more") as refused:
            with_picture(strength=strength, num_inference_steps=steps)
        assert [error.field for error in refused.value.errors] == ["settings.strength"]
        assert with_picture(strength=least, num_inference_steps=steps).request.steps_run == 1


def test_strength_without_a_picture_causes_a_warning() -> None:
    resolved = ask(strength=0.5)
    assert resolved.request.strength is None
    assert "strength was not used" in resolved.warnings[0]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), "0.5"])
def test_strength_has_a_range(strength) -> None:
    with pytest.raises(ValidationError):
        GenerationSettings.model_validate({"strength": strength})


# --- LoRAs


def test_loras_keep_their_order_and_scale() -> None:
    request = ask(loras=[{"id": "b", "scale": 2}, {"id": "a"}]).request
    assert [(lora.id, lora.scale) for lora in request.loras] == [("b", 2.0), ("a", 1.0)]
    assert request.settings()["loras"] == [{"id": "b", "scale": 2.0}, {"id": "a", "scale": 1.0}]


def test_what_a_status_shows_can_be_asked_for_again() -> None:
    request = with_picture(strength=0.5, loras=[{"id": "a", "scale": 0.5}]).request
    again = with_picture(**request.settings()).request
    assert again == request
    assert type(request)(**request.model_dump(include={"model_id", "prompt"}), **request.stored()) == request


@pytest.mark.parametrize(
    "loras", [[{"id": "a", "scale": 2.1}], [{"id": "a", "scale": -1}], [{"id": ""}], [{"name": "a"}], [{"id": "a"}] * 9]
)
def test_bad_loras_are_refused(loras) -> None:
    with pytest.raises(ValidationError):
        GenerationSettings.model_validate({"loras": loras})


def test_a_lora_is_named_once() -> None:
    assert fields_at_fault(loras=[{"id": "a"}, {"id": "a"}]) == ["settings.loras"]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red:1.4) boat", ["weights such as (red:1.4)"]),
        ("a (red boat, on water : .5)", ["weights such as (red boat, on water : .5)"]),
        ("a [blue] boat", ["weights such as [blue]"]),
        ("[cat:dog:0.5] on a sofa", ["weights such as [cat:dog:0.5]"]),
        ("<hypernet:film:1> a boat", ["has no effect"]),
        (r"rem \(re:1\) \[blue\] a boat", []),
        ("a boat (1970s), view: port, 16:9", []),
        ('{"tags": ["a", "b"]}', []),
        ("a (boat:) at 4:3 (see a[0])", []),
        ("<sks> boat, <object> on a <table>", []),
    ],
)
def test_unsupported_markup_causes_a_warning(prompt: str, words: list[str]) -> None:
    for field in ("prompt", "negative_prompt"):
        asked = GenerationInput(**{"prompt": "a boat", field: prompt})
        warnings = resolve(asked, PLAIN, prompt_max_chars=500, drawn_seed=DRAWN_SEED).warnings
        assert bool(warnings) == bool(words)
        assert all(warning.startswith(f"{field} contains") for warning in warnings)
        assert all(word in " ".join(warnings) for word in words)


def test_markup_is_no_cause_for_a_warning_where_it_is_read() -> None:
    weighed = ask(WEIGHED, prompt="a (red:1.4) [blue] boat", negative_prompt="(fog:1.2)")
    assert (weighed.warnings, weighed.request.prompt_weighting) == ((), "auto")
    assert ask(WEIGHED, prompt="a red boat").request.prompt_weighting is None
    assert ask(WEIGHED, prompt="a red boat, " * 20).request.prompt_weighting == "auto"
    assert ask(PLAIN, prompt="a red boat, " * 20).request.prompt_weighting is None
    off = ask(WEIGHED, prompt="a (red:1.4) <lora:x:1> boat", prompt_weighting="off")
    assert (off.warnings, off.request.prompt_weighting, off.request.loras) == ((), "off", ())
    assert "<lora:x:1>" in off.request.prompt
    changing = ask(WEIGHED, prompt="a [cat:dog:0.5]").warnings
    assert changing == ("prompt contains [cat:dog:0.5], which changes by step elsewhere; here it is a weight.",)


def test_lora_tags_become_loras() -> None:
    made = ask(PLAIN, prompt="a boat <lora:ink:0.8>, at sea <LyCO: lines>", loras=[{"id": "own"}])
    assert made.request.prompt == "a boat , at sea"
    assert [(lora.id, lora.scale) for lora in made.request.loras] == [("own", 1.0), ("ink", 0.8), ("lines", 1.0)]
    assert made.warnings[0] == "<lora:ink:0.8> was read as the LoRA ink with scale 0.8."
    negative = ask(PLAIN, negative_prompt="<lora:ink:0.8> fog")
    assert (negative.request.loras, "the tag <lora:ink:0.8>" in negative.warnings[0]) == ((), True)


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        ("a <lora:x:3> boat", "prompt"),
        ("a <lora:x:much> boat", "prompt"),
        ("<lora:x:1>", "prompt"),
        ("a <lora:x:1> <lora:x:0.5> boat", "settings.loras"),
        (" ".join(f"<lora:x{n}:1>" for n in range(9)) + " boat", "settings.loras"),
    ],
)
def test_a_wrong_tag_is_refused(prompt: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ask(prompt=prompt)
    assert [error.field for error in refused.value.errors] == [field]


def test_the_second_prompt_is_a_prompt() -> None:
    assert ask(prompt_2=" a drawing ", clip_skip=1).request.prompt_2 == "a drawing"
    with pytest.raises(InvalidRequest, match=r"settings\.prompt_2 has 600 characters"):
        ask(prompt_2="x" * 600)


def test_a_provider_may_read_that_markup() -> None:
    spec = SPEC.model_copy(update={"source": "replicate"})
    assert (
        resolve(GenerationInput(prompt="a (red:1.4) boat"), spec, prompt_max_chars=500, drawn_seed=DRAWN_SEED).warnings
        == ()
    )


def test_the_pictures_of_jobs_stored_by_earlier_versions_are_read():
    ref = {"sha256": "a" * 64, "width": 64, "height": 32}
    stored = {"model_id": "m", "prompt": "p", "num_inference_steps": 4, "seed": 1, "task": "inpaint"}
    request = GenerationRequest.model_validate(stored | {"image": ref | {"image_id": "b" * 32}, "mask": ref})
    assert [picture.role for picture in request.pictures] == ["image", "mask"]
    assert request.inputs() == {"image": ref | {"image_id": "b" * 32}, "mask": ref}
    assert GenerationRequest.model_validate(request.model_dump()) == request
    assert GenerationRequest.model_validate(stored | {"image": ref, "mask": None}).slots == ["image"]

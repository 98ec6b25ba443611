"""Limits and defaults of video models: the catalogue line, else the family, within the installation's limits."""

from __future__ import annotations

import pytest

from app.config import load_settings
from app.core.catalog import ModelSpec
from app.core.catalog_limits import catalog_of
from app.core.families.lookup import FAMILIES
from app.core.request import GenerationInput, GenerationSettings
from app.core.resolve import Resolved, resolve
from app.core.sizes import working_size
from app.core.videos import nearest_frames, with_family
from app.errors import FieldError, InvalidRequest

VIDEO_RULES = [family.video for family in FAMILIES if family.video is not None]


def a_spec(options: str = "", pipeline: str | None = "LTXPipeline", **environment: str) -> ModelSpec:
    line = f'film;some/repo;A film;local;false;{{"media": "video"{options}}}'
    return with_family(catalog_of(load_settings({"MODEL_F": line, **environment}, None)).get("film"), pipeline)


def ask(spec: ModelSpec, *, image: str | None = None, mask: str | None = None, **settings: object) -> Resolved:
    asked = GenerationInput(
        prompt="waves", image=image, mask=mask, settings=GenerationSettings.model_validate(settings)
    )
    return resolve(asked, spec, prompt_max_chars=100, drawn_seed=5)


def faults(spec: ModelSpec, **asked: object) -> list[FieldError]:
    with pytest.raises(InvalidRequest) as refused:
        ask(spec, **asked)  # type: ignore[arg-type]
    return list(refused.value.errors)


@pytest.mark.parametrize(
    ("pipeline", "size", "length"), [("LTXPipeline", (704, 512), (161, 25)), ("WanPipeline", (832, 480), (81, 16))]
)
def test_what_is_left_open_is_what_the_family_was_made_for(pipeline, size, length) -> None:
    request = ask(a_spec(pipeline=pipeline)).request
    assert request.task == "txt2video"
    assert (request.width, request.height) == size
    assert (request.num_frames, request.fps) == length


def test_the_catalogue_line_wins_over_the_family() -> None:
    own = ', "defaults": {"width": 320, "height": 192, "num_frames": 9, "fps": 12}, "limits": {"frame_step": 4}'
    request = ask(a_spec(own), num_frames=13).request
    assert (request.width, request.height, request.num_frames, request.fps) == (320, 192, 13, 12)
    assert ask(a_spec(own)).request.num_frames == 9


def test_a_number_of_frames_that_the_family_cannot_make_is_refused_with_one_it_can() -> None:
    (fault,) = faults(a_spec(), num_frames=100)
    assert fault == FieldError(
        "settings.num_frames", "must be 1 to 257 and one more than a multiple of 8, such as 97, not 100"
    )
    assert ask(a_spec(), num_frames=97).request.num_frames == 97
    (fault,) = faults(a_spec(pipeline="WanPipeline"), num_frames=99)
    assert "a multiple of 4, such as 97," in fault.message
    assert ask(a_spec(pipeline="unknown"), num_frames=100).request.num_frames == 100  # its worker finds out


def test_what_is_taken_for_a_model_that_is_to_come_suits_every_family() -> None:
    spec = a_spec(pipeline=None)
    request = ask(spec).request
    assert (request.width, request.height, request.num_frames, request.fps) == (704, 480, 81, 16)
    for family in VIDEO_RULES:
        assert 0 <= 81 - nearest_frames(81, family.frame_step) < 3  # the worker rounds
        assert (704 % family.multiple_of, 480 % family.multiple_of) == (0, 0)
    assert ask(spec, num_frames=100).request.num_frames == 100
    width, height = working_size((3000, 2000), (None, None), spec)
    assert width * height < 1.2 * 704 * 480


def test_the_installation_s_limits_hold() -> None:
    short = a_spec(MAX_NUM_FRAMES="50", MAX_FPS="20")
    assert (ask(short).request.num_frames, ask(short).request.fps) == (49, 20)
    assert [fault.field for fault in faults(short, num_frames=57, fps=21)] == ["settings.num_frames", "settings.fps"]
    small = ask(a_spec(MAX_PIXELS="100000")).request
    assert (small.width or 0) * (small.height or 0) <= 100_000
    assert ((small.width or 0) % 32, (small.height or 0) % 32) == (0, 0)
    narrow = ask(a_spec(', "limits": {"max_width": 320}')).request
    assert (narrow.width, narrow.height) == (320, 512)
    chosen = a_spec(', "defaults": {"num_frames": 81}', MAX_NUM_FRAMES="50")
    assert ask(chosen).request.num_frames == 81  # the operator chose it
    (fault,) = faults(a_spec(), width=720, height=512)
    assert (fault.field, "multiple of 32" in fault.message) == ("settings.width", True)


def test_a_video_begins_with_a_picture_of_the_family_s_size() -> None:
    spec = a_spec()
    resolved = ask(spec, image="x", strength=0.5)
    assert (resolved.request.task, resolved.request.strength) == ("img2video", None)
    assert "keeps its start image unchanged" in resolved.warnings[0]
    width, height = working_size((2000, 1000), (None, None), spec)
    assert (width % 32, height % 32) == (0, 0)
    assert 0.8 < width * height / (704 * 512) < 1.2
    assert [fault.field for fault in faults(spec, image="x", mask="y")] == ["mask"]


def test_a_picture_has_no_frames() -> None:
    spec = catalog_of(load_settings({}, None)).get("demo")
    resolved = ask(spec, num_frames=9, fps=8)
    assert (resolved.request.num_frames, resolved.request.fps) == (None, None)
    assert [warning.split("; ")[1] for warning in resolved.warnings] == [
        "num_frames was not used.",
        "fps was not used.",
    ]
    assert with_family(spec, "LTXPipeline") is spec


def test_nearest_frames() -> None:
    assert [nearest_frames(asked, 8) for asked in (1, 8, 9, 16, 17)] == [1, 1, 9, 9, 17]
    for family in VIDEO_RULES:
        assert nearest_frames(family.num_frames, family.frame_step) == family.num_frames
        assert (family.width % family.multiple_of, family.height % family.multiple_of) == (0, 0)

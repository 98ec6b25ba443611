"""Settings in the text of a picture, as AUTOMATIC1111 writes them."""

from __future__ import annotations

import pytest

from app.services.media.picture_info import _bounded, _settings


def test_pairs_quotes_and_prompts() -> None:
    text = 'a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Note: "one, \\"two\\": three", Size: 64x64'
    assert _settings(text) == {
        "Prompt": "a cat",
        "Negative prompt": "dog",
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "Note": 'one, "two": three',
        "Size": "64x64",
    }


def test_the_units_of_controlnet_are_read_as_its_extension_reads_them() -> None:
    unit = "Module: canny, Model: edges [a1b2], Weight: 0.9, Resize Mode: Crop and Resize, Guidance Start: 0.25"
    found = _settings(f'a cat\nSteps: 20, Seed: 1, Size: 64x64, ControlNet 0: "{unit}", Version: 1')
    assert found["ControlNet 0"] == unit
    assert {name: value for name, value in found.items() if name.startswith("ControlNet 0 ")} == {
        "ControlNet 0 module": "canny",
        "ControlNet 0 model": "edges [a1b2]",
        "ControlNet 0 weight": "0.9",
        "ControlNet 0 resize_mode": "Crop and Resize",
        "ControlNet 0 guidance_start": "0.25",
    }


@pytest.mark.parametrize("value", ['"one', '"one" two"', '"\\x"', '"'])
def test_quotes_that_do_not_end_stay(value: str) -> None:
    assert _settings(f"a cat\nSteps: 20, Seed: 1, Size: 64x64, Note: {value}")["Note"] == value


@pytest.mark.parametrize("text", ["", "a cat", "one: 1, two: 2", "a, b: c, d"])
def test_a_prompt_is_no_settings(text: str) -> None:
    assert _settings(text) == {}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", [" " * 1_000_000, '"' * 19_999, "a:" * 9_999, "a b " * 5_000, 'a: "' + "\\" * 19_000])
def test_hostile_text_costs_no_time(line: str) -> None:
    """Any client may send a picture with a megabyte of text."""
    assert _settings("a cat\n" + line) == {}


def test_texts_are_bounded_together() -> None:
    found = _bounded({str(number): "x" * 100_000 for number in range(100)})
    assert sum(map(len, found.values())) < 262_144
    assert len(found["0"]) == 100_000

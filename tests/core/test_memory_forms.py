"""The forms that a model's weights can have on a machine."""

from __future__ import annotations

import pytest

from app.core.memory_forms import Machine, possible_forms
from app.core.memory_parts import PartShape

BILLION = 1_000_000_000


def a_part(name: str, numbers: int, **changes) -> PartShape:
    return PartShape(name, numbers, castable=numbers, blocks=0, outside=numbers, layer=1, **changes)


FLUX = (
    a_part("transformer", 12 * BILLION),
    a_part("text_encoder", BILLION // 8),
    a_part("text_encoder_2", 5 * BILLION),
)
SDXL = (a_part("unet", 3 * BILLION), a_part("text_encoder", BILLION // 8), a_part("vae", BILLION // 10))
TEXT8 = " with text encoder in float8"


def labels(parts, machine=None, asked=None, **options) -> list[str]:
    return [form.label for form in possible_forms(parts, machine or Machine(), asked or {}, **options).usable]


def test_the_best_form_comes_first() -> None:
    assert labels(FLUX) == ["16 bit", f"16 bit{TEXT8}", "float8", f"float8{TEXT8}"]
    assert labels(SDXL) == ["16 bit", "float8"]  # its text encoders are small
    with_package = labels(FLUX, Machine(packages=["bitsandbytes"]))
    assert with_package[4:] == ["4 bit", f"4 bit{TEXT8}", "4 bit with text encoder in 4 bit"]


def test_what_a_package_would_add_is_known() -> None:
    assert [form.label for form in possible_forms(SDXL, Machine(), {}).missing] == ["4 bit"]
    assert possible_forms(SDXL, Machine(packages=["bitsandbytes"]), {}).missing == []


def test_a_cpu_has_no_four_bit_and_one_placement() -> None:
    forms = possible_forms(SDXL, Machine(cuda=False, packages=["bitsandbytes"]), {})
    assert [form.label for form in (*forms.usable, *forms.missing)] == ["16 bit", "float8"]
    assert {form.possible for form in forms.usable} == {("none",)}


def test_full_weights_are_named_by_their_width() -> None:
    assert labels([a_part("unet", 9, item=4)]) == ["32 bit", "float8"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"transformer": "gguf"}, ["GGUF", f"GGUF{TEXT8}"]),
        ({"transformer": "float8"}, ["float8", f"float8{TEXT8}"]),
        ({"transformer": "bitsandbytes-8bit"}, ["8 bit", f"8 bit{TEXT8}"]),
        ({"transformer": "torchao-int8", "text_encoder_2": "torchao-int8"}, None),
    ],
)
def test_what_a_line_asks_for_is_kept(asked, expected) -> None:
    """Only what it leaves open is made smaller."""
    assert labels(FLUX, asked=asked) == (expected or ["torchao-int8 with text encoder in torchao-int8"])
    assert all(asked.items() <= form.kinds.items() for form in possible_forms(FLUX, Machine(), asked).usable)


def test_switched_off_there_is_one_form() -> None:
    assert labels(FLUX, automatic=False) == ["16 bit"]
    assert labels(FLUX, cast_encoders=False) == ["16 bit", "float8"]


def test_the_placements_of_a_form() -> None:
    forms = {form.label: form.possible for form in possible_forms(SDXL, Machine(packages=["bitsandbytes"]), {}).usable}
    assert forms == {
        "16 bit": ("none", "model", "group", "sequential"),
        "float8": ("none", "model", "group"),
        "4 bit": ("none", "model"),
    }

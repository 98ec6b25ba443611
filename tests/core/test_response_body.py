"""Response bodies read their fields from domain objects."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from app.core.response_body import ResponseBody


@dataclass
class Fox:
    name: str
    legs: int = 4


@dataclass
class Den:
    name: str
    depth: float


class FoxBody(ResponseBody):
    name: str
    legs: int
    depth: float
    colour: str | None


def test_a_field_is_a_value_or_an_attribute_of_the_first_source_that_has_it() -> None:
    body = FoxBody.read(Fox("vixen"), Den("earth", 2), colour=None)
    assert list(body.as_dict().items()) == [("name", "vixen"), ("legs", 4), ("depth", 2), ("colour", None)]


def test_what_is_no_field_is_left_out() -> None:
    assert "secret" not in FoxBody.read(Fox("a"), depth=1.0, colour="red", secret="x").as_dict()


def test_a_field_that_no_source_has_is_an_error_of_the_program() -> None:
    with pytest.raises(AttributeError, match=r"none of \['Fox'\] has the field depth"):
        FoxBody.read(Fox("a"), colour="red")


def test_one_odd_value_makes_no_response_fail() -> None:
    """Such as a file name that is not UTF-8, or half of a character that a provider sent."""
    assert FoxBody.read(Fox("caf\udce9"), depth=1, colour=None).as_dict()["name"] == "caf\udce9"

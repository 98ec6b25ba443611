"""Weights and breaks are read as AUTOMATIC1111 reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.prompt_markup import changes_by_step, has_markup, lora_tags, may_be_long, parts

READ = {
    "a boat": [[("a boat", 1)]],
    "a (cat:1.5) on [a sofa]": [[("a ", 1), ("cat", 1.5), (" on ", 1), ("a sofa", 1 / 1.1)]],
    "((x))": [[("x", 1.21)]],
    "(a (b:2) c)": [[("a ", 1.1), ("b", 2.2), (" c", 1.1)]],
    "a (b, c: .5), d": [[("a ", 1), ("b, c", 0.5), (", d", 1)]],
    r"a \(b\) \[c\]": [[("a (b) [c]", 1)]],
    "(see: this)": [[("see: this", 1.1)]],
    "a [c": [[("a ", 1), ("c", 1 / 1.1)]],
    "a) b]": [[("a) b]", 1)]],
    "x BREAK (y:0.5)": [[("x ", 1)], [(" ", 1), ("y", 0.5)]],
    "(x BREAK y:1.2)": [[("x ", 1.2)], [(" y", 1.2)]],
    "BREAK x BREAK": [[(" x ", 1)]],
    "BREAKfast": [[("BREAKfast", 1)]],
    "(x:99)": [[("x", 10)]],
    "view 16:9": [[("view 16:9", 1)]],
    "": [[]],
}


@pytest.mark.parametrize(("prompt", "expected"), READ.items())
def test_it_is_read_in_pieces_of_one_weight(prompt, expected):
    read = [[(piece.text, piece.weight) for piece in part] for part in parts(prompt)]
    assert [[text for text, _ in part] for part in read] == [[text for text, _ in part] for part in expected]
    weights = [weight for part in read for _, weight in part]
    assert weights == pytest.approx([weight for part in expected for _, weight in part])


@given(st.text("ab ()[]:.15\\BREAK,", max_size=60))
def test_any_text_can_be_read_and_loses_no_word(prompt):
    read = "".join(piece.text for part in parts(prompt) for piece in part)
    assert parts(prompt)
    assert set(read) <= set(prompt)
    if not has_markup(prompt):
        assert read == prompt


def test_what_is_a_tag():
    text, tags = lora_tags("<lora:x:0.8> a boat <LyCO: y> <lora:a/b:0.5:1> <object>")
    assert text == "a boat <object>"
    assert [(tag.name, tag.scale) for tag in tags] == [("x", 0.8), ("y", 1.0), ("a/b", 0.5)]
    assert lora_tags("a  boat") == ("a  boat", [])
    assert lora_tags("<lora:x:ab> b")[1][0].scale is None


def test_changes_by_step_are_found():
    assert changes_by_step("a [cat:dog:0.5]") == "[cat:dog:0.5]"
    assert changes_by_step("a [cat|dog]") == "[cat|dog]"
    assert changes_by_step("a [cat] (dog:0.5)") is None


def test_the_length_is_guessed_on_the_safe_side():
    assert not may_be_long("a beautiful sunset over mountains, a lake in front, highly detailed")
    assert may_be_long("word " * 76)
    assert may_be_long("山" * 30)


def test_what_a_lora_tag_kept_apart_does_not_become_a_word() -> None:
    """Prompts are screened before the tags are taken out."""
    assert lora_tags("<scr<lora:a:1>ipt src=x>")[0] == "<scr ipt src=x>"
    assert lora_tags("{<lora:a:1>{config}}")[0] == "{ {config}}"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("prompt", ["[:" + "1" * 100_000, "(a" * 50_000, "(" * 100_000, "[a|" * 30_000, "a:" * 50_000])
def test_hostile_markup_costs_no_time(prompt: str) -> None:
    changes_by_step(prompt)
    parts(prompt)

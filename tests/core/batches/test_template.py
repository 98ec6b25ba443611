"""Templates: what they stand for, how many prompts, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.batches.draws import Draws
from app.core.batches.template import names_of, parse
from app.core.batches.variants import Counts, Variants, told
from app.errors import InvalidRequest

WILDCARDS = {
    "colour": [parse(line) for line in ("red", "dark {blue|green}", "black")],
    "animals/cats": [parse("tabby"), parse("__colour__ cat")],
    "empty": [],
    "loop": [parse("a"), parse("__loop2__")],
    "loop2": [parse("__loop__")],
}


def all_of(template: str) -> list[str]:
    variants = Variants(parse(template), Counts(WILDCARDS))
    return [variants.nth(number) for number in range(variants.count)]


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("a cat", ["a cat"]),
        ("a {red|green} {cat|dog}", ["a red cat", "a red dog", "a green cat", "a green dog"]),
        ("a {|big }dog", ["a dog", "a big dog"]),
        ("a{ very|} old {cat|dog {barking|asleep}}", None),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{0-1$$a|b}!", ["!", "a!", "b!"]),
        ("{2$$ and $$a|b|{c|d}}", ["a and b", "a and c", "a and d", "b and c", "b and d"]),
        ("__colour__", ["red", "dark blue", "dark green", "black"]),
        (
            "{2$$__colour__}",
            ["red, dark blue", "red, dark green", "red, black", "dark blue, black", "dark green, black"],
        ),
        ("__animals/cats__!", ["tabby!", "red cat!", "dark blue cat!", "dark green cat!", "black cat!"]),
        ("{3::a|b}", ["a", "b"]),
        (r"\{a\|b\} \# \_\_colour\_\_ \$", ["{a|b} # __colour__ $"]),
        ("(a:1.2) \\(b\\) a|b #fff snake_case __ $5", ["(a:1.2) \\(b\\) a|b #fff snake_case __ $5"]),
        ("a cat # which one?\n# {a|b}\nasleep", ["a cat\n\nasleep"]),
        ("a,  {b|}", ["a, b", "a,"]),
    ],
)
def test_what_a_template_stands_for(template: str, prompts: list[str] | None) -> None:
    found = all_of(template)
    assert len(set(found)) == len(found)
    if prompts is not None:
        assert found == prompts


def test_a_comment_ends_with_its_line() -> None:
    assert all_of("a cat # {b|c}\nasleep")[0].split() == ["a", "cat", "asleep"]


def test_a_trillion_prompts_are_counted_and_the_last_one_is_made() -> None:
    variants = Variants(parse(" ".join(["{a|b|c|d|e|f|g|h|i|j}"] * 12)))
    assert variants.count == 10**12
    assert told(variants.count) == "1,000,000,000,000"
    assert variants.nth(10**12 - 1) == " ".join("j" * 12)


def test_more_than_can_be_told_is_still_counted_quickly() -> None:
    wild = {"many": [parse(str(number)) for number in range(3000)]}
    variants = Variants(parse("{50$$__many__} " * 5), Counts(wild))
    assert told(variants.count) == "more than 10^60"


def test_what_would_take_long_to_count_is_refused() -> None:
    """A thousand choices of many lines each; together they are bounded."""
    wild = {"many": [parse(str(number)) for number in range(3000)]}
    with pytest.raises(InvalidRequest, match="too many to count"):
        Variants(parse("{50$$__many__} " * 100), Counts(wild))


def test_a_long_row_of_blanks_is_read_at_once() -> None:
    assert all_of("a" + " " * 19_000 + "b") == ["a b"]


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("a {b", r"line 1, character 3: this choice is not closed"),
        ("a\n b}", r"line 2, character 3: closes a choice"),
        ("${a=b}", r"variables"),
        ("{3$$a|b}", r"takes 3 of 2"),
        ("{3-2$$a|b}", r"no range"),
        ("{0::a|0::b}", r"weights"),
        ("__none__", r"__none__, which is not in WILDCARDS_DIR"),
        ("a {b|__animals/none__}", r"__animals/none__"),
        ("__loop__", r"loop → loop2 → loop"),
        ("{" * 40 + "}" * 40, r"nested 32 deep"),
        ("x" * 20_001, r"20,000"),
    ],
)
def test_what_is_refused(template: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        Variants(parse(template), Counts(WILDCARDS))
    assert refused.value.errors[0].field == "prompt"


def test_a_path_is_no_name_of_a_wildcard() -> None:
    for template in ("__../secret__", "__/etc/passwd__", "__a//b__", "__a\\b__"):
        assert names_of(parse(template)) == set(), template


def test_draws_follow_the_weights_and_the_seed() -> None:
    variants = Variants(parse("{9::a|b} {2$$c|d|e} __colour__"), Counts(WILDCARDS))
    drawn = [variants.draw(Draws(seed)) for seed in range(300)]
    assert drawn == [variants.draw(Draws(seed)) for seed in range(300)]
    assert 230 < sum(each.startswith("a") for each in drawn) < 300
    assert set(drawn) <= {variants.nth(number) for number in range(variants.count)}


_text = st.text(alphabet="ab ,", max_size=3)
_template = st.recursive(
    _text,
    lambda part: st.lists(part, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from(
            ["{" + "|".join(parts) + "}", "".join(parts), "{1-2$$" + "|".join([*parts, "z"]) + "}"]
        )
    ),
    max_leaves=8,
)


@given(_template)
def test_every_number_makes_one_prompt(template: str) -> None:
    variants = Variants(parse(template))
    assert variants.count >= 1
    for number in {0, variants.count // 2, variants.count - 1}:
        assert not {"{", "}", "|", "$"} & set(variants.nth(number))


@given(st.text(alphabet="{}|$_a1:-\\# \n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    variants = None
    with contextlib.suppress(InvalidRequest):
        variants = Variants(parse(text), Counts(WILDCARDS))
    if variants is not None and variants.count:
        variants.nth(variants.count - 1)
        variants.draw(Draws(0))


def test_options_that_stand_for_nothing_are_never_drawn():
    for template in ("{__empty__|a}", "{5::__empty__|a}", "{__empty__|0::a}"):
        variants = Variants(parse(template), Counts(WILDCARDS))
        assert {variants.draw(Draws(seed)) for seed in range(20)} == {"a"}, template


def test_wildcards_that_nest_too_deep_are_refused():
    deep = "{" * 20 + "__next__" + "}" * 20
    wildcards = {f"w{number}": [parse(deep.replace("next", f"w{number + 1}"))] for number in range(99)}
    with pytest.raises(InvalidRequest, match="too deep"):
        Variants(parse("__w0__"), Counts({**wildcards, "w99": [parse("a")]}))


def test_a_pick_of_many_lines_draws_what_a_shuffle_of_all_draws():
    def shuffled(seed: int, number: int, of: int) -> list[int]:
        draws, places = Draws(seed), list(range(of))
        for place in range(number):
            other = place + draws.below(of - place)
            places[place], places[other] = places[other], places[place]
        return sorted(places[:number])

    for seed in range(50):
        assert Draws(seed).some(4, 9) == shuffled(seed, 4, 9)
    assert len(set(Draws(1).some(3, 10**15))) == 3  # without a list of all

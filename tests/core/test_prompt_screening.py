"""Prompts that match an attack pattern, ordinary prompts that must not, and bounded run time."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from app.core.prompt_screening import DEFAULT_PATTERNS, compiled, find_attack

PATTERNS = compiled(DEFAULT_PATTERNS)

ATTACKS = {
    "script_tag": [
        "<script>alert(1)</script>",
        "a cat < SCRIPT src=//x>",
        "</script>",
        "＜script＞",
        "<iframe src=x>",
        "<script/src=x>",
    ],
    "event_handler": ['<img src=x onerror="alert(1)">', "<svg onload=alert(1)>", "<b onmouseover = x>"],
    "javascript_uri": [
        "javascript:alert(1)",
        "JaVaScRiPt :alert(1)",
        "javascript: alert(1)",
        "javascript:(function(){})()",
        "javascript:void(0)",
        "data:text/html,<b>",
    ],
    "template_injection": [
        "{{7*7}}",
        "{{7*'7'}}",
        "{{ request.application.__globals__ }}",
        "{{().__class__.__bases__[0]}}",
        "{{lipsum.__globals__['os'].popen('id').read()}}",
        "${env:HOME}",
        "{{ config.items() }}",
        "{{''.__class__}}",
        "${7*7}",
        "${jndi:ldap://x/a}",
        "#{3 * 3}",
        "{% for x in y %}",
        "<%= system('id') %>",
    ],
    "path_traversal": [
        "../../etc/passwd",
        "..\\..\\windows",
        "../etc/passwd",
        "%2e%2e%2fetc",
        "..%2fetc",
        "cat /etc/shadow",
    ],
    "null_byte": ["a\0b", "x.png%00", "a \\x00 b", "\\u0000"],
}

PROMPTS = [
    "a {red|blue} door",
    "{{masterpiece}}, {{{best quality}}}, 1girl",
    "((highly detailed)), [[blurry]], (eyes:1.3)",
    "<lora:add_detail:0.8>, portrait of a knight",
    "the word HELLO in a script font",
    "an actor reading a script, a film set",
    "book cover: JavaScript: The Good Parts",
    "a javascript programmer at night",
    "day.../night, a split picture",
    "morse code ../.. on a wall",
    "a map with ../ written on it",
    "50%00 discount sign, 100%",
    "price tag ${name}, $ {5}",
    "a <3 heart, 3 < 5, arrows --> and <--",
    "a template for a letter, {{ name }}, {{eyes:1.2}}",
    "an object on a table, embedded in stone <object>",
    "C:\\windows\\fonts on a retro screen",
    "the etc folder of /usr/local, ascii art",
    "ein Käfer im Gras, 日本の城, кот на крыше 🐈",
    "on = off, a switch, <b>bold</b> letters",
    "\\o/ a cheering figure",
]


HONEST = (Path(__file__).parent / "honest_prompts.txt").read_text().splitlines()


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in ATTACKS.items() for text in texts])
def test_an_attack_is_recognised_by_its_kind(name: str, text: str) -> None:
    for where in (text, f"a red cat, {text}, oil painting", " " * 600 + text, "a cat, " * 3000 + text):
        found = find_attack(where, PATTERNS)
        assert found is not None
        assert found.pattern == name
        assert unicodedata.normalize("NFKC", found.matched.removesuffix("…")) in unicodedata.normalize("NFKC", where)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_what_people_write_is_left_alone(prompt: str) -> None:
    assert find_attack(prompt, PATTERNS) is None


@pytest.mark.parametrize("prompt", HONEST)
def test_prompts_of_every_style_are_left_alone(prompt: str) -> None:
    assert find_attack(prompt, PATTERNS) is None
    assert find_attack(", ".join([prompt] * 5), PATTERNS) is None


def test_there_are_prompts_enough() -> None:
    assert len(set(HONEST)) >= 200


BRICKS = [
    "{{7*",
    "{{config.",
    "${7",
    "<%",
    "<b onm",
    "javascript:a",
    "{{",
    "{{__",
    "{{1 ",
    "${",
    "<a ",
    "< ",
    "../",
    "%2e",
    "javascript ",
    "on",
    "\\",
    "{%",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", BRICKS)
def test_no_text_takes_long(part: str) -> None:
    text = part * (100_000 // len(part))
    found = find_attack(text, PATTERNS)  # a pattern that backtracks without bound takes minutes
    assert found is None or found.pattern in PATTERNS

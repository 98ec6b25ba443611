"""Suspicious requests are refused or logged according to the settings, and the log does not contain them."""

from __future__ import annotations

import logging

import pytest

from app.config import load_settings
from app.errors import ConfigurationError, SuspiciousInput
from app.services.jobs.submit import screen_prompts

ATTACK = "<script>alert('secret words')</script>"


def submit(prompt: str, negative: str = "", **environment: str) -> None:
    words = {"prompt": prompt, "negative_prompt": negative}
    screen_prompts(load_settings(environment, None), words, client_id="ip:1.2.3.4", request_id="r1")


def test_it_is_refused_by_field_and_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SuspiciousInput) as refused:
        submit("a cat", ATTACK)
    assert refused.value.errors[0].field == "negative_prompt"
    assert "script_tag" in caplog.text
    assert "ip:1.2.3.4" in caplog.text
    assert "secret words" not in caplog.text + str(refused.value)
    assert caplog.records[0].request_id == "r1"
    assert "'<script>'" in refused.value.errors[0].message


@pytest.mark.parametrize("padding", [" " * 500, "\n" * 10_000, "a cat, " * 200])
def test_it_is_found_wherever_it_stands(padding: str) -> None:
    with pytest.raises(SuspiciousInput):
        submit(padding + ATTACK)


def test_it_can_be_logged_only_or_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    submit(ATTACK, SUSPICIOUS_INPUT="log")
    assert "let through" in caplog.text
    caplog.clear()
    submit(ATTACK, SUSPICIOUS_INPUT="off")
    assert caplog.text == ""


def test_own_patterns_take_the_place_of_the_built_in_ones(caplog: pytest.LogCaptureFixture) -> None:
    own = {"SUSPICIOUS_PATTERNS": '{"rude": "\\\\bdarn\\\\b"}'}
    submit(ATTACK, **own)
    with caplog.at_level(logging.WARNING), pytest.raises(SuspiciousInput, match="rude"):
        submit("DARN it", **own)
    submit("darned socks", **own)


@pytest.mark.parametrize("wrong", ["[", '["a"]', '{"a": 1}', '{"a": "("}', "null"])
def test_patterns_that_are_none_stop_the_start(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="SUSPICIOUS_PATTERNS"):
        load_settings({"SUSPICIOUS_PATTERNS": wrong}, None)

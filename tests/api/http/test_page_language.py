"""The language of the page: chosen, asked for, or English; its catalogue covers the errors that the API answers."""

from __future__ import annotations

import json
import re

import pytest

from app.api.http.page_language import COOKIE, LANGUAGES, STRINGS, translator
from app.errors import error_codes

BROWSER = "text/html,application/xhtml+xml"


def language_of(client, asked: str | None, chosen: str | None = None) -> str:
    if chosen is not None:
        client.set_cookie(COOKIE, chosen)
    headers = {"Accept": BROWSER} | ({"Accept-Language": asked} if asked is not None else {})
    answer = client.get("/", headers=headers)
    assert {"accept", "accept-language", "cookie"} <= {name.lower() for name in answer.vary}
    return re.search(r'<html lang="(\w*)"', answer.text)[1]


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("fr,de;q=0.4,en;q=0.3", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("de;q=0", "en"),
        ("de;q=zero,;;,", "en"),
    ],
)
def test_the_browser_asks_for_a_language(client, asked, language):
    assert language_of(client, asked) == language


@pytest.mark.parametrize(
    ("chosen", "language"), [("de", "de"), ("en", "en"), ("", "en"), ("../../etc/passwd", "en"), ("DE", "en")]
)
def test_a_choice_comes_before_it(client, chosen, language):
    assert language_of(client, "en", chosen) == language


def test_the_page_is_written_in_the_language(client):
    page = client.get("/", headers={"Accept": BROWSER, "Accept-Language": "de"}).text
    assert 'data-strings="/static/strings/de.json"' in page
    assert ">Erzeugen<" in page
    assert ">Generate<" not in page
    english = client.get("/", headers={"Accept": BROWSER}).text
    assert "data-strings" not in english
    assert ">Generate<" in english


def test_what_is_unknown_stays_english():
    assert translator("de")("No such sentence") == "No such sentence"
    assert translator("tlh")("Cancel") == "Cancel"


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_error_code_has_a_sentence(language):
    sentences = json.loads((STRINGS / f"{language}.json").read_text("utf-8"))
    told = {key[1:]: text for key, text in sentences.items() if key.startswith("#")}
    assert set(told) == set(error_codes())
    assert not [text for text in told.values() if re.sub(r"\{0\}", "", text).count("{")]

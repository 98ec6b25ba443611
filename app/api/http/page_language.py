"""The language of pages: what the visitor chose, else what the browser asks for, else English. The English sentences
stand where they are shown; static/strings/<language>.json has the other language's by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache

from flask import request

from app.config import CODE

STRINGS = CODE / "app" / "static" / "strings"
LANGUAGES = ("en", "de")  # the first where nothing fits
COOKIE = "language"  # which js/language.js sets

Translate = Callable[[str], str]


def page_language() -> str:
    """One of LANGUAGES, for the current request."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    asked = sorted(request.accept_languages, key=lambda one: -one[1])  # werkzeug has en before en-GB of any quality
    names = (tag.split("-")[0].lower() for tag, quality in asked if quality > 0)
    return next((name for name in names if name in LANGUAGES), LANGUAGES[0])


def translator(language: str) -> Translate:
    """A function from an English sentence to the one of `language`; to itself where there is none."""
    sentences = _sentences(language)
    return lambda sentence: sentences.get(sentence, sentence)


@cache
def _sentences(language: str) -> Mapping[str, str]:
    file = STRINGS / f"{language}.json"
    found: dict[str, str] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found

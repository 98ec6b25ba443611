"""Base64 and data URIs in the forms that clients send."""

from __future__ import annotations

import base64
import textwrap
from urllib.parse import quote

import pytest

from app.core.base64_text import decode_base64, decode_data_uri, is_data_uri

DATA = bytes(range(256)) + b"\xfb\xff\xfe" * 3 + b"x"
PLAIN = base64.b64encode(DATA).decode()
SAFE = base64.urlsafe_b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("="),
        SAFE,
        SAFE.rstrip("="),
        textwrap.fill(PLAIN, 76),
        PLAIN.replace("A", "A\r\n"),
        f"  {PLAIN}\n",
        "\t".join(PLAIN),
        PLAIN.rstrip("=") + "====",
    ],
)
def test_base64(text: str) -> None:
    assert decode_base64(text) == DATA


@pytest.mark.parametrize("text", ["A", "AAAAA", "A=AA", "AA*A", "ünïcode", "A\0AA"])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ValueError):
        decode_base64(text)


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{PLAIN}",
        f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
        f"data:image/png;charset=utf-8;base64,{PLAIN}",
        f'data:image/png;name="a b.png"; base64 ,{PLAIN}',
        f"data:image/png;base64,{SAFE.rstrip('=')}",
        f"data:image/png;base64,{quote(PLAIN, safe='')}",
        f"data:image/png;base64,{textwrap.fill(PLAIN, 60)}",
        f"data:image/png,{quote(DATA)}",
        f"data:image/png;charset=x,{quote(DATA, safe='')}",
    ],
)
def test_data_uris(uri: str) -> None:
    assert is_data_uri(uri)
    media_type, content = decode_data_uri(uri)
    assert (media_type.lower(), content) == ("image/png", DATA)


def test_a_data_uri_without_a_type() -> None:
    assert decode_data_uri(f"data:;base64,{PLAIN}") == ("", DATA)
    assert decode_data_uri(f"data:base64,{PLAIN}")[0] == "base64"


def test_what_is_no_data_uri() -> None:
    for text in ("", "data", "data:image/png", PLAIN, "image/png;base64,AAAA", "data:" + "x" * 600 + ",AAAA"):
        assert not is_data_uri(text)
        with pytest.raises(ValueError, match="comma"):
            decode_data_uri(text)


def test_percent_signs_are_for_short_texts():
    assert decode_data_uri("data:,%41b") == ("", b"Ab")
    for start in ("data:,", "data:;base64,"):
        with pytest.raises(ValueError, match="percent signs"):
            decode_data_uri(start + "%41" * 100_000)


def test_base64_beyond_ascii_is_refused_before_anything_is_unpacked():
    with pytest.raises(ValueError, match="base64 is ASCII"):
        decode_data_uri("data:;base64,%41" + "a\u00e9" * 10)

"""Signatures cover the file, its id and the time, in one spelling only."""

from __future__ import annotations

import pytest

from app.core.signed_urls import FileKind, check_signature, signature_of
from app.errors import InvalidSignature, UrlExpired

KEY, ID, NOW = "k" * 43, "0123456789abcdef" * 2, 1_700_000_000.9
EXPIRES = str(int(NOW) + 60)
SIGNATURE = signature_of(KEY, "file", ID, EXPIRES)


def check(
    kind: FileKind = "file", image_id: str = ID, expires: str = EXPIRES, signature: str = SIGNATURE, now: float = NOW
) -> int:
    return check_signature(KEY, kind, image_id, expires, signature, now)


def test_a_signature_is_valid_until_its_time() -> None:
    assert check() == 60
    assert check(now=NOW + 59) == 1
    for late in (60, 61, 10**9):
        with pytest.raises(UrlExpired):
            check(now=NOW + late)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "thumbnail"},
        {"image_id": ID[::-1]},
        {"image_id": ID.upper()},
        {"expires": str(int(EXPIRES) + 1)},
        {"expires": f"0{EXPIRES}"},
        {"expires": f"{EXPIRES} "},
        {"expires": f"+{EXPIRES}"},
        {"expires": ""},
        {"expires": "٣" + EXPIRES[1:]},
        {"expires": "\ud800"},
        {"signature": ""},
        {"signature": SIGNATURE + "="},
        {"signature": SIGNATURE[:-1]},
        {"signature": SIGNATURE.lower()},
        {"signature": "ü" * 43},
        {"signature": "\ud800"},
        {"signature": signature_of("another", "file", ID, EXPIRES)},
    ],
)
def test_anything_else_is_not_valid(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        check(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("expires", ["0", "-1", "0" + EXPIRES, "9" * 13, "1e12", ""])
def test_a_time_that_is_none_is_not_valid_even_if_it_was_signed(expires: str) -> None:
    with pytest.raises(InvalidSignature):
        check(expires=expires, signature=signature_of(KEY, "file", ID, expires))


def test_a_part_cannot_be_moved_into_another() -> None:
    with pytest.raises(InvalidSignature):
        check(image_id=f"{ID}\n1", expires=EXPIRES, signature=signature_of(KEY, "file", ID, f"1\n{EXPIRES}"))


def test_a_forged_url_is_not_told_that_it_has_expired() -> None:
    with pytest.raises(InvalidSignature):
        check(signature="A" * 43, now=NOW + 1000)

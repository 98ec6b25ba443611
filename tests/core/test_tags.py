"""Tags: what is one, and what is too long for its column."""

from __future__ import annotations

import pytest

from app.core.tags import LONGEST_KEY, Tag, tag_of


def test_tags_are_compared_without_case_and_blanks_joined():
    assert tag_of("  Night   Sky ") == Tag("night sky", "Night Sky")


def test_a_key_is_no_longer_than_its_column():
    """One ligature stands for 18 letters."""
    assert len(tag_of("\ufdfa" * 5).key) <= LONGEST_KEY
    with pytest.raises(ValueError, match="ligatures"):
        tag_of("\ufdfa" * 12)


@pytest.mark.parametrize("text", ["", "   ", "a,b", "x" * 51, "a\x00b"])
def test_what_is_no_tag(text):
    with pytest.raises(ValueError, match="printable"):
        tag_of(text)

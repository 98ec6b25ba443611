"""Words of a prompt that name embeddings, in letters that are equal to some and not to others."""

from __future__ import annotations

import pytest

from app.core.embeddings import named_in, split


def test_names_in_any_case():
    assert named_in(["a <EasyNegative> b"], ["easynegative"]) == ["easynegative"]


@pytest.mark.parametrize("word", ["easynegatıve", "EASYNEGATİVE"])
def test_an_i_of_another_alphabet_is_text_and_no_error(word):
    assert "".join(piece for piece, _ in split(f"x, {word}", ["easynegative"])) == f"x, {word}"

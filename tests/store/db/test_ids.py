"""Ids have one format, sort by age and are unique."""

from __future__ import annotations

import itertools
import re
import time

import pytest

from app.store.db.ids import new_id


def test_ids_have_one_shape_and_never_meet() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == len(ids)


def test_ids_sort_by_age(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1_763_661_540_123_000_000, 1_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    made = [new_id() for _ in range(100)]
    assert made == sorted(made)


def test_what_cannot_be_guessed_is_long_enough() -> None:
    assert len({new_id()[12:] for _ in range(1000)}) == 1000

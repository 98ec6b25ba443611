"""A batch survives that everything is killed: one outcome and one picture for each place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.crash.batch import BatchCrashTest
from tests.e2e.crash.databases import KINDS, empty_database

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_one_picture_for_each_place_whatever_is_killed(kind: str, tmp_path: Path) -> None:
    with empty_database(kind, tmp_path) as url:
        outcome = BatchCrashTest(tmp_path, url).run(number=60, kills=2)
    assert outcome.is_right, str(outcome)
    assert len(outcome.kills) == 2

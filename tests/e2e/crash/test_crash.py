"""Nothing accepted is lost and nothing is published twice, whatever is killed; and this test would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.crash.databases import KINDS, empty_database
from tests.e2e.crash.harness import CrashTest
from tests.e2e.crash.with_machine import run_with_faults

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECONDS = 20.0
MUTANT_SECONDS, ROUNDS = 8.0, 8  # for the mutant to be caught; one or two rounds are nearly always enough


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_and_nothing_is_published_twice(kind: str, tmp_path: Path) -> None:
    with empty_database(kind, tmp_path) as url:
        report = CrashTest(tmp_path, url).run(SECONDS)
    assert report.faults == [], str(report)
    assert report.acknowledged >= 20, str(report)
    assert report.blows["worker killed"] + report.blows["worker frozen"] >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_whatever_the_machine_does(kind: str, tmp_path: Path) -> None:
    report = run_with_faults(tmp_path, kind, SECONDS)
    assert report.faults == [], str(report)
    assert report.acknowledged >= 5, str(report)
    assert sum(report.machine.values()) >= 2, str(report)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_fence_it_finds_faults(kind: str, tmp_path: Path) -> None:
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with empty_database(kind, folder) as url:
            report = CrashTest(folder, url, mutant=True).run(MUTANT_SECONDS)
        if report.faults:
            return
    raise AssertionError(str(report))

"""Checks of all files in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_file_carries_the_marks_of_an_unfinished_merge() -> None:
    searched = subprocess.run(
        ["git", "grep", "-I", "-l", "-E", "^(<{7}|>{7}) "], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert searched.stdout.split() == []
    assert searched.returncode == 1, searched.stderr

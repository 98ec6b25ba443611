"""Failpoints do nothing unless a crash test configures them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from app.config import ROOT
from app.monitoring.failpoints import ENVIRONMENT_NAME, NAMES, failpoint, parse
from tests.waiting import PATIENCE

PASS_ALL = """
from app.monitoring.failpoints import NAMES, failpoint
for name in NAMES:
    print(name, flush=True)
    failpoint(name)
print("through")
"""


def passing(armed: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], ENVIRONMENT_NAME: armed}
    return subprocess.Popen(
        [sys.executable, "-c", PASS_ALL], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
    )


def test_unarmed_they_cost_next_to_nothing() -> None:
    failpoint("after_claim")
    started = time.perf_counter()
    for _ in range(10_000):
        failpoint("after_claim")
    assert time.perf_counter() - started < 1.0  # it is some milliseconds


def test_kill_is_sigkill_at_the_very_place() -> None:
    process = passing("before_commit=kill")
    said = process.communicate(timeout=PATIENCE)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert said == list(NAMES[: NAMES.index("before_commit") + 1])


def test_a_probability_of_nought_never_happens() -> None:
    process = passing(",".join(f"{name}=kill:0" for name in NAMES))
    assert "through" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0


def test_stop_freezes_until_continued() -> None:
    process = passing("after_claim=stop:1.0")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert "through" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0


@pytest.mark.parametrize("text", ["before_comit=kill", "before_commit=explode", "before_commit", "after_claim=kill:2"])
def test_invalid_failpoints_raise(text: str) -> None:
    with pytest.raises(ValueError, match=ENVIRONMENT_NAME):
        parse(text)

"""The cause of a worker's death, from its exit status."""

from __future__ import annotations

import pytest

from app.core.deaths import Death


@pytest.mark.parametrize(
    ("death", "cause", "words"),
    [
        (Death(-9, out_of_memory=True), "out_of_memory", "by the kernel for lack of memory"),
        (Death(-9), "killed", "signal 9 (SIGKILL)"),
        (Death(-15), "killed", "SIGTERM"),
        (Death(-11), "crashed", "SIGSEGV"),
        (Death(-6, out_of_memory=True), "crashed", "SIGABRT"),
        (Death(70), "stuck", "JOB_TIMEOUT_SECONDS"),
        (Death(72), "broken", "errors.log"),
        (Death(1), "exited", "exit status 1"),
        (Death(-64), "killed", "signal 64"),
    ],
)
def test_causes(death: Death, cause: str, words: str) -> None:
    assert death.cause == cause
    assert words in death.sentence

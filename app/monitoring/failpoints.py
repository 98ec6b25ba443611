"""Named places where a crash test may kill or freeze this process. Inert unless CYBERIMAGE_FAILPOINTS is set.

For tests only, hence not a setting in `app.config`. The variable is read when the first failpoint is passed:

    CYBERIMAGE_FAILPOINTS="before_commit=kill:0.05,after_file_rename=stop:0.1"

`kill` is SIGKILL and `stop` is SIGSTOP to this process, with the probability after the colon. The places, in the order
of a job: after_claim, mid_generation, after_file_rename, before_commit, after_commit; of a remote job between the first
two: after_intent, after_create, after_created_stored, after_ended, after_download.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

ENVIRONMENT_NAME = "CYBERIMAGE_FAILPOINTS"
REMOTE = ("after_intent", "after_create", "after_created_stored", "after_ended", "after_download")
NAMES = ("after_claim", *REMOTE, "mid_generation", "after_file_rename", "before_commit", "after_commit")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(frozen=True)
class Failpoint:
    """The signal at an armed place, and its probability."""

    signal: signal.Signals
    probability: float


def failpoint(name: str) -> None:
    """Send the configured signal at the place `name`; does nothing unless a test configured it."""
    armed = _armed().get(name)
    if armed is not None and random.random() < armed.probability:
        os.kill(os.getpid(), armed.signal)


def parse(text: str) -> dict[str, Failpoint]:
    """`name=action:probability` pairs between commas. Raises ValueError for any mistake."""
    found: dict[str, Failpoint] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = pair.partition("=")
        action, _, probability = rest.partition(":")
        if name not in NAMES or action not in _SIGNALS or not 0.0 <= float(probability or "1") <= 1.0:
            raise ValueError(f"{ENVIRONMENT_NAME}: {pair!r} is not <place>=kill|stop[:probability]")
        found[name] = Failpoint(_SIGNALS[action], float(probability or "1"))
    return found


@cache
def _armed() -> Mapping[str, Failpoint]:
    return parse(os.environ.get(ENVIRONMENT_NAME, ""))

"""Named places where a crash test may kill, freeze or slow this process. Inert unless CYBERIMAGE_FAILPOINTS is set.

For tests only, hence not a setting in `app.config`. The variable is read when the first failpoint is passed:

    CYBERIMAGE_FAILPOINTS="before_commit=kill:0.05,after_file_rename=stop:0.1"

`kill` is SIGKILL, `crash` SIGSEGV and `stop` SIGSTOP to this process, `slow` waits for a second and `fail` raises
OSError, as a disk would, with the probability after the colon. The places, in the order of a job: after_claim,
mid_generation, before_write, after_file_rename, before_commit, after_commit; of a remote job between the first
two: after_intent, after_create, after_created_stored, after_ended, after_download.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

ENVIRONMENT_NAME = "CYBERIMAGE_FAILPOINTS"
REMOTE = ("after_intent", "after_create", "after_created_stored", "after_ended", "after_download")
NAMES = (
    *("after_claim", *REMOTE, "mid_generation", "before_write", "after_file_rename", "before_commit", "after_commit"),
)
SLOW_SECONDS = 1.0
_SIGNALS = {"kill": signal.SIGKILL, "crash": signal.SIGSEGV, "stop": signal.SIGSTOP}
_ACTIONS = (*_SIGNALS, "slow", "fail")


@dataclass(frozen=True)
class Failpoint:
    """What happens at an armed place, and its probability."""

    action: str
    probability: float


def failpoint(name: str) -> None:
    """Do what is configured for the place `name`; nothing unless a test configured it."""
    armed = _armed().get(name)
    if armed is not None and random.random() < armed.probability:
        _act(armed.action)


def _act(action: str) -> None:
    if action in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[action])
    elif action == "slow":
        time.sleep(SLOW_SECONDS)
    else:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def parse(text: str) -> dict[str, Failpoint]:
    """`name=action:probability` pairs between commas. Raises ValueError for any mistake."""
    found: dict[str, Failpoint] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = pair.partition("=")
        action, _, probability = rest.partition(":")
        if name not in NAMES or action not in _ACTIONS or not 0.0 <= float(probability or "1") <= 1.0:
            raise ValueError(f"{ENVIRONMENT_NAME}: {pair!r} is not <place>={'|'.join(_ACTIONS)}[:probability]")
        found[name] = Failpoint(action, float(probability or "1"))
    return found


@cache
def _armed() -> Mapping[str, Failpoint]:
    return parse(os.environ.get(ENVIRONMENT_NAME, ""))

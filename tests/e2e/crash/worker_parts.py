"""What the workers of a crash test have besides the real thing: an engine without weights, and a count of what the
fence refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from app.engines.base import Generation
from app.errors import CyberImageError, LeaseLost
from app.store.queue import claims
from tests.worker.fake_engine import FakeEngine

MAKER = "maker"  # where, in a picture's versions, the process stands that drew it
STEP_SECONDS = 0.02


class CrashEngine(FakeEngine):
    """Signs its pictures with its process, so that one can see whether their publisher owned the job."""

    def generate(self, *arguments: Any) -> Generation:
        return self._signed(super().generate(*arguments))

    def generate_merged(self, *arguments: Any) -> Sequence[Generation | CyberImageError]:
        return [self._signed(made) for made in super().generate_merged(*arguments) if isinstance(made, Generation)]

    def _signed(self, made: Generation) -> Generation:
        del self.ran[:], self.merged[:]
        return dataclasses.replace(made, versions={MAKER: str(os.getpid())})


@cache
def make_engine() -> CrashEngine:
    return CrashEngine(step_seconds=STEP_SECONDS)


def note_refusals(file: Path) -> None:
    """Write a line to `file` for each completion that the fence kept out."""
    complete: Callable[..., None] = claims.ClaimStore.complete

    def noting(*arguments: Any, **keywords: Any) -> None:
        try:
            complete(*arguments, **keywords)
        except LeaseLost:
            with file.open("a") as refusals:
                refusals.write("refused\n")
            raise

    claims.ClaimStore.complete = noting  # type: ignore[method-assign]

"""A worker of a crash test: the real one, in a hurry, with an engine that needs no weights.

    python -m tests.e2e.crash.worker_entry REFUSALS [mutant]

A line is added to the file REFUSALS for every completion that came too late and was refused. A `mutant` has no fence:
whoever thinks that a job is his may end it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.crash.hurry import hurry

MAKER = "maker"  # where, in a picture's versions, the process stands that drew it
STEP_SECONDS = 0.02


def make_engine() -> Any:
    import dataclasses

    from app.engines.base import Generation
    from tests.worker.fake_engine import FakeEngine

    class CrashEngine(FakeEngine):
        """Signs its pictures with its process, so that one can see whether their publisher owned the job."""

        def generate(self, *arguments: Any) -> Generation:
            made = super().generate(*arguments)
            del self.ran[:]
            return dataclasses.replace(made, versions={MAKER: str(os.getpid())})

    return CrashEngine(step_seconds=STEP_SECONDS)


def note_refusals(file: Path) -> None:
    """Count completions that the fence kept out."""
    from app.errors import LeaseLost
    from app.store.claims import ClaimStore

    complete: Callable[..., None] = ClaimStore.complete

    def noting(*arguments: Any, **keywords: Any) -> None:
        try:
            complete(*arguments, **keywords)
        except LeaseLost:
            with file.open("a") as refusals:
                refusals.write("refused\n")
            raise

    ClaimStore.complete = noting  # type: ignore[method-assign]


def take_out_the_fence() -> None:
    from app.store import claims
    from app.store.schema import jobs

    claims._owned = lambda claim: jobs.c.id == claim.job_id


def main(refusals: str, *rest: str) -> int:
    hurry()
    from app.worker.main import main as run_worker

    note_refusals(Path(refusals))
    if rest == ("mutant",):
        take_out_the_fence()
    engine = make_engine()
    return run_worker(lambda _: {"local": lambda: engine})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

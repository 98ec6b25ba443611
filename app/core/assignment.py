"""Which worker a job is for: who can run it, and who should before whom.

Of the workers that can run a job, those that have its model loaded come first, then those that have its files, then
those that would download them; one whose memory the model seems to exceed comes last. A worker that is not among the
first leaves the job to them for a bounded time, so nothing starves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from app.core.needs import Needs
from app.core.worker_capabilities import Capabilities, Lack

# A worker that is idle and has the model takes the job at once, if it is as alive as its row says.
TO_IDLE_SECONDS = 2.0

Deference = Literal["none", "to idle", "to nearer"]
Judge = Callable[[Needs], Deference | None]  # of a worker: None for jobs that it cannot run
# By model that a device refused, what other workers can run that have not refused it; None of one that does not say.
Left = Mapping[str, Sequence[Capabilities | None]]


class Standing(IntEnum):
    """How near a worker is to running a job, nearest first."""

    LOADED = 0
    ON_DISK = 1
    TO_DOWNLOAD = 2
    TIGHT = 3


@dataclass(frozen=True)
class LiveWorker:
    """A live worker as assignment sees it. `ready` are the models that it has loaded; `capabilities` are None of a
    worker that reports none, because it is of an earlier version."""

    id: str
    host: str
    capabilities: Capabilities | None
    ready: frozenset[str] = frozenset()
    idle: bool = False

    def can_run(self, needs: Needs) -> bool:
        """Whether it can run such a job, as far as is known."""
        return self.capabilities is None or self.capabilities.can_run(needs)


def standing(needs: Needs, capabilities: Capabilities, ready: Collection[str]) -> Standing | None:
    """How near a worker is to a job; None if it cannot run it."""
    if not capabilities.can_run(needs):
        return None
    if needs.source or needs.model in ready:
        return Standing.LOADED
    if needs.model in capabilities.tight:
        return Standing.TIGHT
    files = (needs.model, *needs.beside)
    return Standing.ON_DISK if all(name in capabilities.here for name in files) else Standing.TO_DOWNLOAD


def deference(own: Standing, others: Iterable[tuple[Standing, bool]]) -> Deference:
    """Whether a worker of standing `own` leaves a job to others, given by their standing and whether they are idle.

    To load a model takes seconds: that is worth waiting for a worker that can begin at once. To download one takes
    minutes, and to try one that does not fit a failure: those are worth waiting for a busy one.
    """
    nearer = [(other, idle) for other, idle in others if other < own]
    if not nearer:
        return "none"
    return "to nearer" if own >= Standing.TO_DOWNLOAD else "to idle" if any(idle for _, idle in nearer) else "none"


def is_left(needs: Needs, left: Left) -> bool:
    """Whether a job of a refused model is another worker's, as one can run it."""
    return any(report is None or report.can_run(needs) for report in left.get(needs.model, ()))


def patience(deference: Deference, bound: float) -> float:
    """How long (seconds) a job is left to others; `bound` is that of `scheduling.affinity_bound` for its model."""
    return {"none": 0.0, "to idle": min(TO_IDLE_SECONDS, bound), "to nearer": bound}[deference]


def standings(needs: Needs, workers: Iterable[LiveWorker]) -> list[tuple[Standing, bool]]:
    """The standing of those `workers` that report what they can run and can run this."""
    found = [
        (standing(needs, worker.capabilities, worker.ready), worker.idle)
        for worker in workers
        if worker.capabilities is not None
    ]
    return [(place, idle) for place, idle in found if place is not None]


@dataclass(frozen=True)
class Shortfall:
    """Why no worker can run a job: the one that is nearest to it, and what it lacks. `worker` is None where only
    workers that have left are known."""

    worker: LiveWorker | None
    lacks: Sequence[Lack]


def shortfall(needs: Needs, workers: Sequence[LiveWorker], gone: Iterable[Capabilities] = ()) -> Shortfall | None:
    """What keeps all of `workers`, and those that were here a moment ago, from running such a job; None if one can, or
    if none of them says what it can run."""
    if any(worker.can_run(needs) for worker in workers) or any(each.can_run(needs) for each in gone):
        return None
    lacking = [
        Shortfall(worker, worker.capabilities.lacks(needs)) for worker in workers if worker.capabilities is not None
    ]
    lacking += [Shortfall(None, each.lacks(needs)) for each in gone]
    return min(lacking, key=lambda each: (len(each.lacks), each.worker is None), default=None)


_WORDS: dict[str, Callable[[str], str]] = {
    "model": lambda name: f"the model {name}",
    "lora": lambda name: f"the LoRA {name}",
    "embedding": lambda name: f"the embedding {name}",
    "input model": lambda name: f"the model {name} for its pictures",
    "detector": lambda name: f"a model that makes {name} pictures",
    "provider": lambda name: f"a key of the provider {name}",
}


def named(lacks: Sequence[Lack]) -> str:
    """What is lacking, for a sentence: `the model flux-dev and the LoRA style`."""
    words = [_WORDS[lack.kind](lack.name[:200]) for lack in lacks]
    return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"

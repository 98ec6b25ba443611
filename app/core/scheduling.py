"""Selects the next job: pure functions of a few numbers, so that a simulation can verify their guarantees.

Order: priority, then fairness between clients, then affinity to a loaded model, bounded by age.

*Fairness* is start-time fair queueing (Goyal, Vin and Cheng, 1996) with one unit per job. A job gets its `turn` once,
when it is enqueued: one more than its client's last waiting turn, but never less than the turn being served. Jobs run
by (priority, turn, seq), so a client that submits a thousand jobs delays a single job of another client by at most one
job per competing client, and a claim is one index lookup however long the queue is. Turns never restart at zero: when
no job waits, the next turn is the sequence number of the newest job, which no turn has exceeded. So a job that returns
later (its worker died, or it was retried) is not put behind all jobs submitted since.

*Affinity*: loading a model is slow, so a worker may take a job of a loaded model before the first job in the queue, as
long as that job has been overtaken for less than `affinity_bound`. It therefore waits at most that bound plus one job.
What counts is the time since it was first overtaken, not its age: in a queue longer than the bound every first job is
old, and swapping models with every job under the highest load would keep the queue long.

*Assignment* (`core.assignment`): a worker takes only jobs of the classes (`core.needs`) that it can run. Those that
another worker is nearer to it leaves for a while: they count as overtaken too, and are taken once they have been for
long enough. So `select` looks at the first job of each class.

*Merging* (MERGE_JOBS, `store.queue.next_job`) moves jobs of the same model and priority forward to share the call of
the job whose turn it is. The jobs behind that one wait for the call instead of the job; the order of turns is not
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.request import GenerationRequest
from app.core.tasks import TXT2IMG

MIN_AFFINITY_BOUND = 30.0  # seconds
AFFINITY_LOADS = 5.0  # the first job may be overtaken for this many times its model's load time


@dataclass(frozen=True)
class Candidate:
    """A waiting job, with what `choose` needs. `overtaken_for` is seconds since it was first overtaken as the first job
    in the queue; 0 if it never was. `needs` is the class of one that needs more than its model."""

    job_id: str
    model_id: str
    priority: int
    turn: int
    seq: int
    overtaken_for: float = 0.0
    needs: str | None = None

    @property
    def place(self) -> tuple[int, int, int]:
        """Sort key in the queue: the smallest is served first."""
        return (-self.priority, self.turn, self.seq)


def next_turn(last_waiting_turn: int | None, serving_turn: int | None, newest_seq: int) -> int:
    """The turn for a job being enqueued.

    `last_waiting_turn` is the largest turn of the client's waiting jobs of the same priority. `serving_turn` is the
    smallest turn of all clients' jobs that have not run yet (a returned job has an old turn, which new jobs must not
    get). None where there is none. `newest_seq` is the largest sequence number so far.
    """
    own = -1 if last_waiting_turn is None else last_waiting_turn
    return max(own + 1, newest_seq if serving_turn is None else serving_turn)


def affinity_bound(load_seconds: float | None) -> float:
    """How long (seconds) the first job may be overtaken, given how long its model takes to load."""
    return max(MIN_AFFINITY_BOUND, AFFINITY_LOADS * (load_seconds or 0.0))


def choose(head: Candidate, warm: Candidate | None, loaded: Collection[str], bound: float) -> Candidate:
    """The job to run: the `head` of the queue, or `warm`, the first waiting job of a loaded model.

    `warm` is taken only while the head has been overtaken for less than `bound` seconds, and has the same priority.
    """
    if warm is None or head.model_id in loaded or warm.priority != head.priority:
        return head
    return warm if 0 <= head.overtaken_for < bound else head  # negative: the clock was set back


@dataclass(frozen=True)
class Selection:
    """The job that a worker takes, None if it takes none; and those that it passes over, which are overtaken from now
    on if they were not before."""

    chosen: Candidate | None
    overtaken: Sequence[Candidate] = ()


Patience = Callable[[Candidate], float | None]


def select(
    heads: Iterable[Candidate], patience: Patience, loaded: Collection[str], bound: Callable[[str], float]
) -> Selection:
    """The job to run of the first ones of each class. `patience` says for how many seconds the worker leaves a job to
    others, None for one that it cannot run; `bound` is that of `choose` for a model."""
    able: list[Candidate] = []
    left: list[Candidate] = []
    for candidate in heads:
        seconds = patience(candidate)
        if seconds is not None:
            (left if 0 <= candidate.overtaken_for < seconds else able).append(candidate)
    if not able:
        return Selection(None, left)
    head = min(able, key=lambda candidate: candidate.place)
    warm = min((one for one in able if one.model_id in loaded), key=lambda one: one.place, default=None)
    chosen = choose(head, warm, loaded, bound(head.model_id))
    passed = [candidate for candidate in left if candidate.place < chosen.place]
    return Selection(chosen, passed if chosen is head else [*passed, head])


def can_merge(request: GenerationRequest) -> bool:
    """Whether other jobs may be merged with it. Not with a rerun, whose picture must be identical bit by bit."""
    alone = request.num_images > 1 or request.rerun_of is not None or request.remote is not None
    # The prompts of one call have one length.
    alone = alone or request.prompt_weighting == "auto" or bool(request.clip_skip) or request.upscale is not None
    return request.task == TXT2IMG and not request.pictures and not alone


def call_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request's `stored()` settings that all jobs of one call share."""
    return {name: value for name, value in settings.items() if name != "seed"}

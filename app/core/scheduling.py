"""Which job runs next: pure functions over a few numbers, so that a simulation can prove what they promise.

Order: priority, then fairness between clients, then affinity for a loaded model, bounded by age.

*Fairness* is start-time fair queueing (Goyal, Vin and Cheng, 1996) with one unit per job. A job gets its `turn` once,
when it is enqueued: one more than its client's last waiting turn, but never behind the turn being served now. Jobs run
by (priority, turn, seq), so a client that floods a thousand jobs delays another one's single job by at most one job per
competing client, and a claim is one index look-up however long the queue is.

*Affinity*: loading a model is dear, so a worker may take a job of a model it holds before the head of the line, as long
as the head is younger than `affinity_bound`. The head therefore waits at most that bound plus one job.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MIN_AFFINITY_BOUND = 30.0  # seconds
AFFINITY_LOADS = 5.0  # a head may be overtaken for this many times its model's load time


@dataclass(frozen=True)
class Candidate:
    """A waiting job, as far as choosing needs it. `age` is seconds since it could first have run."""

    job_id: str
    model_id: str
    priority: int
    turn: int
    seq: int
    age: float


def next_turn(last_waiting_turn: int | None, serving_turn: int | None) -> int:
    """The turn of a job being enqueued.

    `last_waiting_turn` is the largest turn among the client's waiting jobs of the same priority, `serving_turn` the
    smallest among everybody's; None where there is none.
    """
    own = -1 if last_waiting_turn is None else last_waiting_turn
    return max(own + 1, serving_turn or 0)


def affinity_bound(load_seconds: float | None) -> float:
    """How long (seconds) the head of the line may be overtaken, given how long its model takes to load."""
    return max(MIN_AFFINITY_BOUND, AFFINITY_LOADS * (load_seconds or 0.0))


def choose(head: Candidate, warm: Candidate | None, loaded: Collection[str], bound: float) -> Candidate:
    """The job to run: the `head` of the line, or `warm`, the first waiting job of a loaded model.

    `warm` is taken only when it costs the head no more than `bound` seconds and has the same priority.
    """
    if warm is None or head.model_id in loaded or warm.priority != head.priority:
        return head
    return warm if 0 <= head.age < bound else head  # a negative age: the clock was set back; trust nothing

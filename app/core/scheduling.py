"""Which job runs next: pure functions over a few numbers, so that a simulation can prove what they promise.

Order: priority, then fairness between clients, then affinity for a loaded model, bounded by age.

*Fairness* is start-time fair queueing (Goyal, Vin and Cheng, 1996) with one unit per job. A job gets its `turn` once,
when it is enqueued: one more than its client's last waiting turn, but never behind the turn being served now. Jobs run
by (priority, turn, seq), so a client that floods a thousand jobs delays another one's single job by at most one job per
competing client, and a claim is one index look-up however long the queue is. Turns never start again from nothing: when
nobody waits, the next one is the sequence number of the newest job, which no turn has passed. So a job that comes back
later (its worker died, somebody retried it) is not put behind everybody who came since.

*Affinity*: loading a model is dear, so a worker may take a job of a model it holds before the head of the line, as long
as the head has been passed over for less than `affinity_bound`. The head therefore waits at most that bound plus one
job. What counts is the time since it was first passed over, not its age: in a line longer than the bound every head is
old, and swapping models with every job just when there is most to do would keep the line long for ever.

*Merging* (MERGE_JOBS, `store.queue.batching`) lets jobs of the same model and priority come forward to share the
call of one whose turn it is. Who waits behind that one waits for the call instead of the job; whose turn is next is not
changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MIN_AFFINITY_BOUND = 30.0  # seconds
AFFINITY_LOADS = 5.0  # a head may be overtaken for this many times its model's load time


@dataclass(frozen=True)
class Candidate:
    """A waiting job, as far as choosing needs it. `overtaken_for` is the seconds since, as the head of the line, it was
    first passed over; 0 when it never was."""

    job_id: str
    model_id: str
    priority: int
    turn: int
    seq: int
    overtaken_for: float = 0.0

    @property
    def place(self) -> tuple[int, int, int]:
        """Sorts candidates into the line: the smallest is served first."""
        return (-self.priority, self.turn, self.seq)


def next_turn(last_waiting_turn: int | None, serving_turn: int | None, newest_seq: int) -> int:
    """The turn of a job being enqueued.

    `last_waiting_turn` is the largest turn among the client's waiting jobs of the same priority, `serving_turn` the
    smallest among everybody's that have not run yet (a job that comes back brings an old turn with it, and must not
    open the past to newcomers); None where there is none. `newest_seq` is the largest sequence number given so far.
    """
    own = -1 if last_waiting_turn is None else last_waiting_turn
    return max(own + 1, newest_seq if serving_turn is None else serving_turn)


def affinity_bound(load_seconds: float | None) -> float:
    """How long (seconds) the head of the line may be overtaken, given how long its model takes to load."""
    return max(MIN_AFFINITY_BOUND, AFFINITY_LOADS * (load_seconds or 0.0))


def choose(head: Candidate, warm: Candidate | None, loaded: Collection[str], bound: float) -> Candidate:
    """The job to run: the `head` of the line, or `warm`, the first waiting job of a loaded model.

    `warm` is taken only while the head has been passed over for less than `bound` seconds, and has the same priority.
    """
    if warm is None or head.model_id in loaded or warm.priority != head.priority:
        return head
    return warm if 0 <= head.overtaken_for < bound else head  # negative: the clock was set back; trust nothing

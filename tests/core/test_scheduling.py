"""The scheduler's guarantees on a simulated queue, and that each fails without the rule behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.scheduling import (
    AFFINITY_LOADS,
    MIN_AFFINITY_BOUND,
    Candidate,
    affinity_bound,
    choose,
    next_turn,
)
from tests.core.simulation import SimulatedJob, Simulation

JOB, SWAP = 1.0, 20.0
BOUND = affinity_bound(SWAP)


def first_come(head: Candidate, warm: Candidate | None, loaded: Collection[str], bound: float) -> Candidate:
    return head


def always_warm(head: Candidate, warm: Candidate | None, loaded: Collection[str], bound: float) -> Candidate:
    return warm or head


def no_fairness(own: int | None, serving: int | None, newest_seq: int) -> int:
    return newest_seq


def interleaved(count: int, models: Sequence[str] = ("a", "b")) -> list[SimulatedJob]:
    return [SimulatedJob("one", models[number % len(models)]) for number in range(count)]


# --- affinity pays


def interleaved_seconds(chooser: Callable[..., Candidate]) -> float:
    return Simulation(interleaved(200), job_seconds=JOB, swap_seconds=SWAP, choose=chooser).run()


def test_two_interleaved_models_take_a_quarter_of_first_come_first_served_at_most() -> None:
    first_come_first_served = interleaved_seconds(first_come)
    assert first_come_first_served == 200 * (JOB + SWAP)
    assert interleaved_seconds(choose) <= 0.25 * first_come_first_served


def test_a_line_longer_than_the_bound_does_not_fall_back_to_swapping_with_every_job() -> None:
    simulation = Simulation(interleaved(2000), job_seconds=JOB, swap_seconds=SWAP)
    simulation.run()
    assert simulation.executor[0].swaps <= 2 + 2000 * JOB / BOUND


# --- no starvation


def overtaken_seconds(jobs: Sequence[SimulatedJob]) -> float:
    return max(
        (job.starts - job.overtaken_at for job in jobs if job.overtaken_at is not None and job.starts), default=0
    )


def steady_stream_with_one_cold_job(chooser: Callable[..., Candidate]) -> float:
    """A worker busy with one model for ever, and one job for another model: how long after its arrival does it run?"""
    cold = SimulatedJob("other", "cold", arrives=300.5)
    stream = [SimulatedJob("busy", "warm", arrives=second * 0.9 * JOB) for second in range(1000)]
    Simulation([*stream, cold], job_seconds=JOB, swap_seconds=SWAP, choose=chooser).run()
    assert cold.starts is not None
    return cold.starts - cold.arrives


def test_a_job_of_another_model_is_served_within_the_bound_and_a_job() -> None:
    assert steady_stream_with_one_cold_job(choose) <= BOUND + 2 * JOB  # one under way when it comes, one at the bound
    assert steady_stream_with_one_cold_job(always_warm) > 2 * BOUND, "without the bound it must starve"


@given(
    models=st.lists(st.sampled_from("abcd"), min_size=1, max_size=120),
    clients=st.lists(st.sampled_from("xyz"), min_size=1, max_size=120),
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=120),
    workers=st.integers(1, 3),
)
def test_no_head_is_passed_over_for_longer_than_the_bound_and_a_job(
    models: list[str], clients: list[str], gaps: list[float], workers: int
) -> None:
    at, jobs = 0.0, []
    for number, model in enumerate(models):
        at += gaps[number % len(gaps)]
        jobs.append(SimulatedJob(clients[number % len(clients)], model, arrives=at))
    Simulation(jobs, workers=workers, job_seconds=JOB, swap_seconds=SWAP).run()
    assert all(job.ends is not None for job in jobs)
    assert overtaken_seconds(jobs) <= BOUND + JOB + SWAP


# --- fairness


def single_after_flood(turns: Callable[..., int], *, competitors: int = 1, models: str = "a") -> float:
    """Floods of 400 jobs, then one job of another client. How long does it wait?"""
    floods = [
        SimulatedJob(f"flood-{client}", models[number % len(models)])
        for number in range(400)
        for client in range(competitors)
    ]
    single = SimulatedJob("single", models[-1], arrives=100.5)
    Simulation([*floods, single], job_seconds=JOB, swap_seconds=SWAP, next_turn=turns).run()
    assert single.starts is not None
    return single.starts - single.arrives


@pytest.mark.parametrize("competitors", [1, 3])
def test_a_flood_delays_a_single_job_by_one_job_per_client(competitors: int) -> None:
    assert single_after_flood(next_turn, competitors=competitors) <= (competitors + 1) * JOB  # one is under way
    assert single_after_flood(no_fairness, competitors=competitors) > 200, "without turns it must wait for the flood"


def test_a_flood_of_several_models_delays_it_by_the_bound_besides() -> None:
    # Both heads before it may be passed over, but only the first for the whole bound: then its model is loaded.
    assert single_after_flood(next_turn, models="ab") <= 2 * (JOB + SWAP) + BOUND
    assert single_after_flood(no_fairness, models="ab") > 200


def test_equal_clients_are_served_equally() -> None:
    jobs = [SimulatedJob(client, "a") for client in "xyz" for _ in range(100)]
    Simulation(jobs, job_seconds=JOB, swap_seconds=0).run()
    ends = sorted((job.ends, job.client) for job in jobs if job.ends is not None)
    assert [client for _, client in ends[:30]].count("z") == 10


# --- the functions themselves


def a_candidate(**values: object) -> Candidate:
    return Candidate(**({"job_id": "1", "model_id": "cold", "priority": 0, "turn": 1, "seq": 1} | values))  # type: ignore[arg-type]


def test_choose_in_small() -> None:
    warm = a_candidate(job_id="2", model_id="warm")
    young, old = a_candidate(overtaken_for=29.9), a_candidate(overtaken_for=30.0)
    assert choose(young, warm, ["warm"], 30.0) is warm
    assert choose(old, warm, ["warm"], 30.0) is old
    assert choose(young, None, ["warm"], 30.0) is young
    assert choose(young, warm, ["warm", "cold"], 30.0) is young
    assert choose(young, a_candidate(model_id="warm", priority=-1), ["warm"], 30.0) is young
    from_the_future = a_candidate(overtaken_for=-1.0)
    assert choose(from_the_future, warm, ["warm"], 30.0) is from_the_future


def test_the_bound_in_small() -> None:
    assert affinity_bound(None) == affinity_bound(0.0) == affinity_bound(1.0) == MIN_AFFINITY_BOUND
    assert affinity_bound(60.0) == 60.0 * AFFINITY_LOADS


@pytest.mark.parametrize(
    ("own", "serving", "newest_seq", "turn"),
    [
        (None, None, 0, 0),  # the first job ever
        (None, None, 41, 41),  # no job waits: not behind what was served, nor before
        (None, 7, 41, 7),  # a newcomer shares the turn being served
        (9, 7, 41, 10),  # a client's next job
        (3, 7, 41, 7),  # a client whose last turn is long past saves nothing up
    ],
)
def test_turns_in_small(own: int | None, serving: int | None, newest_seq: int, turn: int) -> None:
    assert next_turn(own, serving, newest_seq) == turn

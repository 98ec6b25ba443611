"""Jobs that can be merged into one call: which are claimed, which are not, and that none is claimed twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from app.core.inputs import InputRef
from app.core.job import JobStatus, Phase
from app.core.request import LoraChoice
from app.core.rerun import RerunOf
from app.store.queue import claims, next_job
from tests.store.harness import LEASE, TIMEOUT, Store, an_output

PICTURE = InputRef(sha256="0" * 64, width=64, height=64)


def taken(store: Store, most: int = 7, worker: str = "w1") -> list[str]:
    """The ids of jobs claimed with the first job in the queue."""
    return [claim.job_id for claim in store.claims.claim_to_merge(store.claim(worker), most)]


def test_those_that_differ_in_words_and_seed_come_along_in_the_order_they_wait(store: Store) -> None:
    jobs = [store.submit(prompt=f"boat {n}", seed=n, client=f"c{n % 2}") for n in range(5)]
    first = store.claim("w1")
    others = store.claims.claim_to_merge(first, 3)
    line = [first.job_id, *[claim.job_id for claim in others], *[job.id for job in store.jobs.waiting()]]
    assert len(others) == 3
    assert sorted(line) == sorted(job.id for job in jobs)
    assert line == [job.id for job in sorted(jobs, key=lambda job: (job.turn, job.seq))]
    for claim in others:
        row = store.row(claim.job_id)
        assert (claim.worker_id, claim.attempt, claim.max_attempts, claim.deadline_in) == ("w1", 1, 3, TIMEOUT)
        assert (row.status, row.worker_id, row.attempt, row.phase) == ("PROCESSING", "w1", 1, Phase.STARTING.value)
        assert row.lease_expires_at == pytest.approx(store.now() + LEASE, abs=5)
        assert claim.request == store.jobs.get(claim.job_id).request
        assert claim.queued_seconds >= 0


@pytest.mark.parametrize(
    "other",
    [
        {"model_id": "another"},
        {"width": 128},
        {"num_inference_steps": 17},
        {"guidance_scale": 2.0},
        {"loras": (LoraChoice(id="ink"),)},
        {"negative_prompt": "fog"},  # to SDXL an empty one is something else than none
        {"num_images": 2},
        {"task": "img2img", "strength": 0.5, "image": PICTURE},
        {"rerun_of": RerunOf(image_id="x", versions={})},
        {"priority": -1},
        {"priority": 1},
    ],
    ids=lambda other: next(iter(other)),
)
def test_those_that_differ_in_more_stay(store: Store, other: dict) -> None:
    head = store.submit(priority=2 if other.get("priority") == 1 else 0)
    store.submit(**other)
    first = store.claim("w1")
    assert first.job_id == head.id
    assert store.claims.claim_to_merge(first, 7) == []
    assert store.jobs.count_pending() == 1


def test_negative_prompts_may_differ(store: Store) -> None:
    store.submit(negative_prompt="fog")
    other = store.submit(negative_prompt="rain")
    assert taken(store) == [other.id]


def test_loras_and_scales_must_be_the_same(store: Store) -> None:
    ink, half = (LoraChoice(id="ink"),), (LoraChoice(id="ink", scale=0.5),)
    store.submit(loras=ink)
    store.submit(loras=half)
    same = store.submit(loras=ink, seed=9)
    assert taken(store) == [same.id]


def test_only_first_attempts_come_along(store: Store) -> None:
    """A job that kills its worker affects the merged jobs once, and runs alone from then on."""
    for _ in range(2):
        store.submit()
    first = store.claim("w1")
    (other,) = store.claims.claim_to_merge(first, 7)
    store.lose(other)
    store.submit()
    assert len(store.claims.claim_to_merge(first, 7)) == 1
    assert [job.id for job in store.jobs.waiting()] == [other.job_id]


def test_a_job_with_a_single_attempt_does_not_risk_it(store: Store) -> None:
    store.submit()
    store.edit(store.submit().id, max_attempts=1)
    assert taken(store) == []


def test_one_that_is_held_back_stays(store: Store) -> None:
    store.submit()
    store.edit(store.submit().id, available_at=store.now() + 60)
    assert taken(store) == []


def test_no_job_is_moved_forward_from_far_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_job, "_NEXT", next_job._NEXT.limit(3))
    store.submit()
    for width in (128, 64, 128, 64):
        store.submit(width=width)
    assert len(taken(store)) == 1


def test_each_is_fenced_and_ended_by_itself(store: Store) -> None:
    for _ in range(4):
        store.submit()
    first = store.claim("w1")
    cancelled, failed, back = store.claims.claim_to_merge(first, 7)
    assert all(beat.owned for beat in store.claims.heartbeat([first, cancelled, failed, back]).values())
    store.jobs.cancel(cancelled.job_id)
    beats = store.claims.heartbeat([first, cancelled])
    assert [beats[claim.job_id].cancel_requested for claim in (first, cancelled)] == [False, True]
    store.claims.cancelled(cancelled)
    store.claims.release(back)
    store.complete(first)
    store.lose(failed)
    statuses = [store.jobs.get(claim.job_id).status for claim in (first, cancelled, failed, back)]
    assert statuses == [JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.PENDING, JobStatus.PENDING]
    row = store.row(back.job_id)
    assert row.max_attempts - row.attempt == 3  # given back, it has as many as before


def test_jobs_claimed_by_another_worker_meanwhile_are_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        store.submit()
    first = store.claim("w1")
    look, theirs = next_job.to_merge, []

    def slow_look(*arguments):
        chosen = look(*arguments)
        theirs.append(store.claim("w2"))
        return chosen

    monkeypatch.setattr(claims, "to_merge", slow_look)
    ours = store.claims.claim_to_merge(first, 7)
    assert len(ours) == 1
    assert store.row(theirs[0].job_id).worker_id == "w2"
    assert len({first.job_id, theirs[0].job_id, ours[0].job_id}) == 3


def test_workers_that_want_the_same_jobs_each_get_others(store: Store) -> None:
    """None twice, none lost, and no deadlock."""
    enqueued = {store.submit(client=f"c{n % 3}", seed=n).id for n in range(90)}

    def hammer(worker: str) -> list[str]:
        mine = []
        while (first := store.claims.claim(worker)) is not None:
            for claim in (first, *store.claims.claim_to_merge(first, 4)):
                mine.append(claim.job_id)
                store.complete(claim)
        return mine

    with ThreadPoolExecutor(6) as pool:
        ended = list(chain.from_iterable(pool.map(hammer, [f"w{n}" for n in range(6)])))
    ended += hammer("last")
    assert sorted(ended) == sorted(enqueued)
    assert store.output_count() == len(enqueued)


def test_seconds_that_jobs_shared_are_learned_as_shares(store: Store) -> None:
    store.submit()
    claim = store.claim()
    store.claims.complete(claim, [an_output(claim.job_id)], timings={"generating": 8.0}, merged=4)
    assert store.speeds.all() == {("demo", "64x64x16"): 2.0}

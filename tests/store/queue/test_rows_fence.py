"""After a lease is lost, its worker cannot write: neither before the next claim nor after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.core.job import Claim, Phase, Progress
from app.errors import LeaseLost, ModelUnavailable
from tests.store.harness import Store, an_output

Write = Callable[[Store, Claim], object]


def complete(store: Store, claim: Claim) -> None:
    store.claims.complete(claim, [an_output(claim.job_id)], timings={"generating": 3.0}, warnings=["late"])


def fail(store: Store, claim: Claim) -> None:
    store.claims.fail(claim, ModelUnavailable("no"))


def fail_and_retry(store: Store, claim: Claim) -> None:
    store.claims.fail(claim, ModelUnavailable("no"), retry_in=1)


ENDINGS = {
    "complete": complete,
    "fail": fail,
    "fail and retry": fail_and_retry,
    "cancelled": lambda store, claim: store.claims.cancelled(claim),
    "release": lambda store, claim: store.claims.release(claim),
}
SITUATIONS = {
    "waiting again": lambda store, claim: store.lose(claim),
    "claimed by another": lambda store, claim: (store.lose(claim), store.claim("w2")),
    "claimed by itself": lambda store, claim: (store.lose(claim), store.claim(claim.worker_id)),
    "completed by another": lambda store, claim: (store.lose(claim), store.complete(store.claim("w2"))),
    "completed by itself": lambda store, claim: store.complete(claim),
    "cancelled": lambda store, claim: (store.jobs.cancel(claim.job_id), store.lose(claim)),
    "failed": lambda store, claim: (store.edit(claim.job_id, max_attempts=1), store.lose(claim)),
    "given back": lambda store, claim: store.claims.release(claim),
}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_an_ending_after_the_lease_was_lost_is_refused(store: Store, end: Write, situation: Write) -> None:
    store.submit()
    stale = store.claim("w1")
    situation(store, stale)
    before, published = store.row(stale.job_id), store.output_count()
    with pytest.raises(LeaseLost):
        end(store, stale)
    assert store.row(stale.job_id) == before
    assert store.output_count() == published
    assert store.speeds.all() == {}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_a_sign_of_life_after_the_lease_was_lost_changes_nothing(store: Store, situation: Write) -> None:
    store.submit()
    stale = store.claim("w1")
    situation(store, stale)
    before = store.row(stale.job_id)
    assert not store.claims.heartbeat([stale])[stale.job_id].owned
    assert not store.claims.progress(stale, Progress(Phase.GENERATING, 3, 9)).owned
    assert not store.claims.check(stale).owned
    assert store.row(stale.job_id) == before


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_another_worker_s_name_opens_nothing(store: Store, end: Write) -> None:
    store.submit()
    claim = store.claim("w1")
    thief = Claim(**(vars(claim) | {"worker_id": "w2"}))
    before = store.row(claim.job_id)
    with pytest.raises(LeaseLost):
        end(store, thief)
    assert store.row(claim.job_id) == before


def test_an_attempt_s_number_is_never_used_twice(store: Store) -> None:
    job = store.submit()
    seen = []
    for step in ("lose", "release", "fail", "retry", "lose"):
        claim = store.claim("w1")
        seen.append(claim.attempt)
        if step == "lose":
            store.lose(claim)
        elif step == "release":
            store.claims.release(claim)
        elif step == "fail":
            store.claims.fail(claim, ModelUnavailable(), retry_in=1)
            store.edit(job.id, available_at=None)
        else:
            store.claims.fail(claim, ModelUnavailable())
            store.jobs.retry(job.id, max_attempts=3)
    assert seen == [1, 2, 3, 4, 5]

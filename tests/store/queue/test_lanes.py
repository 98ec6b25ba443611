"""Jobs of remote providers wait in a separate queue: neither affects the other."""

from __future__ import annotations

from app.core.job import Job, JobStatus
from app.store.queue.status_probe import StatusProbeStore
from tests.store.harness import Store, a_request


def submit(store: Store, lane: str, client: str = "alice") -> Job:
    return store.jobs.enqueue(a_request(), client_id=client, lane=lane)[0]  # type: ignore[arg-type]


def test_a_claim_takes_jobs_of_its_own_lane_alone(store: Store) -> None:
    remote, local = submit(store, "remote"), submit(store, "local")
    assert [job.lane for job in (remote, local)] == ["remote", "local"]
    assert store.claim("w1").job_id == local.id
    assert store.claims.claim("w1") is None
    assert store.claims.claim("w1", ["demo"]) is None, "not by its model either"
    taken = store.claims.claim("w2", lane="remote")
    assert taken is not None
    assert taken.job_id == remote.id
    assert store.claims.claim("w2", lane="remote") is None


def test_positions_and_counts_are_of_the_lane(store: Store) -> None:
    local = [submit(store, "local") for _ in range(2)]
    remote = [submit(store, "remote") for _ in range(3)]
    assert [store.jobs.position(job) for job in local] == [1, 2]
    assert [store.jobs.position(job) for job in remote] == [1, 2, 3]
    status_probes = StatusProbeStore(store.database)
    assert [probe.position for job in remote if (probe := status_probes.probe(job.id))] == [1, 2, 3]
    assert [job.id for job in store.jobs.waiting(lane="remote")] == [job.id for job in remote]
    assert [job.id for job in store.jobs.waiting()] == [job.id for job in local]
    store.claims.claim("w", lane="remote")
    assert store.jobs.counts_by_lane() == {
        ("local", JobStatus.PENDING): 2,
        ("remote", JobStatus.PENDING): 2,
        ("remote", JobStatus.PROCESSING): 1,
    }
    assert store.jobs.counts()[JobStatus.PENDING] == 4


def test_a_lane_that_stands_still_opens_no_past_in_the_other(store: Store) -> None:
    """No worker serves the remote lane: its old turns must not let new clients of the local one overtake others."""
    submit(store, "remote")
    for _ in range(20):
        submit(store, "local")
        store.complete(store.claim())
    waiting = [submit(store, "local", client="bob") for _ in range(2)]
    assert waiting[0].turn >= 20
    assert [store.jobs.position(submit(store, "local", client="carol"))] == [2], "after bob's first, before his second"


def test_a_job_that_comes_back_stays_in_its_lane(store: Store) -> None:
    job = submit(store, "remote")
    claim = store.claims.claim("w", lane="remote")
    assert claim is not None
    store.lose(claim)
    assert store.claims.claim("w") is None
    again = store.claims.claim("w", lane="remote")
    assert again is not None
    store.claims.release(again)
    store.jobs.cancel(job.id)
    assert store.jobs.retry(job.id, max_attempts=1).lane == "remote"
    assert store.claims.claim("w") is None

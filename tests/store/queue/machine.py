"""The store as a state machine, compared with a simple model: dictionaries and plain ifs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from app.core.deaths import Death
from app.core.job import Claim, JobStatus, Phase, Progress
from app.core.scheduling import next_turn
from app.errors import Cancelled, Conflict, DeviceFailed, IdempotencyConflict, LeaseLost, ModelUnavailable
from app.store.queue.lease_expiry import MAX_INTERRUPTIONS
from tests.store.harness import Store, an_output

PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = JobStatus


@dataclass
class Expected:
    """The model's state of one job."""

    id: str
    client: str
    place: tuple[int, int, int]
    status: JobStatus = PENDING
    attempt: int = 0
    max_attempts: int = 3
    interruptions: int = 0
    worker: str | None = None
    cancel_requested: bool = False
    held_back: bool = False
    outputs: list[str] = field(default_factory=list)

    def is_owned_by(self, claim: Claim) -> bool:
        return (self.status, self.worker, self.attempt) == (PROCESSING, claim.worker_id, claim.attempt)

    def status_after_failure(self) -> None:
        if self.cancel_requested:
            self.status = CANCELLED
        else:
            self.status = FAILED if self.attempt >= self.max_attempts else PENDING
        self.held_back = self.status is PENDING

    def status_after_interruption(self) -> None:
        """A lease that expires without a recorded death: not the job's fault, and bounded apart."""
        self.interruptions += 1
        self.max_attempts += 1
        if self.cancel_requested:
            self.status = CANCELLED
        else:
            self.status = FAILED if self.interruptions >= MAX_INTERRUPTIONS else PENDING
        self.held_back = self.status is PENDING


workers = st.sampled_from(["w1", "w2", "w3"])


class StoreMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    claims = Bundle("claims")  # every claim ever made: most rules will try them long after they were lost

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.model: dict[str, Expected] = {}
        self.made: list[Claim] = []
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}

    # --- clients

    @rule(target=jobs, client=st.sampled_from("ab"), priority=st.sampled_from([0, 0, 0, 1]))
    def enqueue(self, client: str, priority: int) -> str:
        turn = self._next_turn(client, priority)
        job = self.store.submit(client=client, priority=priority)
        assert job.turn == turn
        self.model[job.id] = Expected(job.id, client, (-priority, job.turn, job.seq))
        return job.id

    @rule(target=jobs, client=st.sampled_from("ab"), key=st.sampled_from("kl"), body=st.sampled_from("xxy"))
    def enqueue_with_a_key(self, client: str, key: str, body: str) -> Any:
        known = self.keys.get((client, key))
        if known is not None and known[0] != body:
            with pytest.raises(IdempotencyConflict):
                self.store.submit_with_key(key, body * 64, client)
            return multiple()
        job, is_new = self.store.submit_with_key(key, body * 64, client)
        assert is_new == (known is None)
        if known is not None:
            assert job.id == known[1]
            return multiple()
        self.keys[client, key] = (body, job.id)
        self.model[job.id] = Expected(job.id, client, (0, job.turn, job.seq))
        return job.id

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        expected = self.model[job_id]
        if expected.status in (COMPLETED, FAILED):
            with pytest.raises(Conflict):
                self.store.jobs.cancel(job_id)
            return
        self.store.jobs.cancel(job_id)
        expected.cancel_requested = True
        if expected.status is PENDING:
            expected.status = CANCELLED

    @rule(job_id=jobs, max_attempts=st.integers(1, 3))
    def retry(self, job_id: str, max_attempts: int) -> None:
        expected = self.model[job_id]
        if expected.status not in (FAILED, CANCELLED):
            with pytest.raises(Conflict):
                self.store.jobs.retry(job_id, max_attempts=max_attempts)
            return
        turn = self._next_turn(expected.client, -expected.place[0])
        job = self.store.jobs.retry(job_id, max_attempts=max_attempts)
        assert job.turn == turn
        expected.status, expected.cancel_requested, expected.held_back = PENDING, False, False
        expected.max_attempts, expected.interruptions = expected.attempt + max_attempts, 0
        expected.place = (expected.place[0], job.turn, job.seq)

    def _next_turn(self, client: str, priority: int) -> int:
        line = [job for job in self.model.values() if job.status is PENDING and job.place[0] == -priority]
        own = max((job.place[1] for job in line if job.client == client), default=None)
        serving = min((job.place[1] for job in line if not job.attempt), default=None)
        return next_turn(own, serving, max((job.place[2] for job in self.model.values()), default=0))

    # --- workers

    @rule(target=claims, worker=workers)
    def claim(self, worker: str) -> Any:
        line = sorted((job for job in self.model.values() if job.status is PENDING), key=lambda job: job.place)
        served = next((job for job in line if not job.held_back), None)
        claim = self.store.claims.claim(worker)
        if served is None:
            assert claim is None
            return multiple()
        served.status, served.worker, served.attempt = PROCESSING, worker, served.attempt + 1
        assert claim is not None
        self.made.append(claim)
        assert (claim.job_id, claim.attempt, claim.max_attempts) == (served.id, served.attempt, served.max_attempts)
        return claim

    @rule(claim=claims, count=st.integers(1, 2))
    def complete(self, claim: Claim, count: int) -> None:
        expected = self.model[claim.job_id]
        outputs = [an_output(claim.job_id, index) for index in range(count)]
        if not expected.is_owned_by(claim):
            with pytest.raises(LeaseLost):
                self.store.complete(claim, *outputs)
        elif expected.cancel_requested:
            with pytest.raises(Cancelled):
                self.store.complete(claim, *outputs)
        else:
            self.store.complete(claim, *outputs)
            expected.status, expected.outputs = COMPLETED, [output.id for output in outputs]

    @rule(claim=claims, retry_in=st.sampled_from([None, 100.0]))
    def fail(self, claim: Claim, retry_in: float | None) -> None:
        expected = self.model[claim.job_id]
        if not expected.is_owned_by(claim):
            with pytest.raises(LeaseLost):
                self.store.claims.fail(claim, ModelUnavailable(), retry_in=retry_in)
            return
        status = self.store.claims.fail(claim, ModelUnavailable(), retry_in=retry_in)
        if retry_in is not None:
            expected.status_after_failure()
        else:
            expected.status = CANCELLED if expected.cancel_requested else FAILED
        assert status is expected.status

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        expected = self.model[claim.job_id]
        if not expected.is_owned_by(claim):
            with pytest.raises(LeaseLost):
                self.store.claims.release(claim)
            return
        self.store.claims.release(claim)
        expected.status = CANCELLED if expected.cancel_requested else PENDING
        expected.max_attempts += 1

    @rule(claim=claims)
    def interrupt(self, claim: Claim) -> None:
        expected = self.model[claim.job_id]
        if not expected.is_owned_by(claim):
            with pytest.raises(LeaseLost):
                self.store.claims.interrupt(claim, DeviceFailed())
            return
        status = self.store.claims.interrupt(claim, DeviceFailed())
        expected.status_after_interruption()
        assert status is expected.status

    @rule(claim=claims)
    def stop_because_of_a_cancel(self, claim: Claim) -> None:
        expected = self.model[claim.job_id]
        if not expected.is_owned_by(claim):
            with pytest.raises(LeaseLost):
                self.store.claims.cancelled(claim)
            return
        self.store.claims.cancelled(claim)
        expected.status = CANCELLED

    @rule(claim=claims)
    def give_a_sign_of_life(self, claim: Claim) -> None:
        expected = self.model[claim.job_id]
        owned = expected.is_owned_by(claim)
        for beat in (
            self.store.claims.heartbeat([claim])[claim.job_id],
            self.store.claims.progress(claim, Progress(Phase.GENERATING, 1, 4)),
            self.store.claims.check(claim),
        ):
            assert (beat.owned, beat.cancel_requested) == (owned, owned and expected.cancel_requested)

    @precondition(lambda self: self.owners())
    @rule(
        which=st.integers(0, 9),
        how=st.sampled_from(
            ["complete", "fail", "retry", "release", "interrupt", "stop_because_of_a_cancel", "give_a_sign_of_life"]
        ),
        after_a_cancel=st.sampled_from([False, False, True]),
    )
    def an_owner_writes(self, which: int, how: str, after_a_cancel: bool) -> None:
        """Claims drawn from all ever made are mostly stale; this draws from current ones."""
        owners = self.owners()
        claim = owners[which % len(owners)]
        if after_a_cancel:
            self.cancel(claim.job_id)
        if how == "complete":
            self.complete(claim, 1)
        elif how in ("fail", "retry"):
            self.fail(claim, 100.0 if how == "retry" else None)
        else:
            getattr(self, how)(claim)

    def owners(self) -> list[Claim]:
        return [claim for claim in self.made if self.model[claim.job_id].is_owned_by(claim)]

    # --- time

    @rule(job_id=jobs)
    def the_worker_falls_silent(self, job_id: str) -> None:
        expected = self.model[job_id]
        if expected.status is PROCESSING:
            self.store.edit(job_id, lease_expires_at=self.store.now() - 1)
            expected.status_after_interruption()
            assert [row.id for row in self.store.claims.expire_leases()] == [job_id]
        else:
            assert self.store.claims.expire_leases() == []

    @rule(worker=workers)
    def the_worker_dies(self, worker: str) -> None:
        """As its supervisor records it: the attempts of its jobs count."""
        held = [job for job in self.model.values() if job.status is PROCESSING and job.worker == worker]
        freed = self.store.deaths.record(worker, Death(-9))
        assert sorted(row.id for row in freed) == sorted(job.id for job in held)
        for job in held:
            job.status_after_failure()

    @rule(job_id=jobs)
    def the_backoff_passes(self, job_id: str) -> None:
        if self.model[job_id].held_back:
            self.store.edit(job_id, available_at=self.store.now() - 1)
            self.model[job_id].held_back = False

    # --- always

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        line = sorted((job for job in self.model.values() if job.status is PENDING), key=lambda job: job.place)
        assert [job.id for job in self.store.jobs.waiting(limit=1000)] == [job.id for job in line]
        found = list(self.model.values())
        counts = {status: sum(job.status is status for job in found) for status in JobStatus}
        assert self.store.jobs.counts() == counts
        assert self.store.outputs.totals()["count"] == sum(len(job.outputs) for job in found)
        assert {job.id for job in self.store.jobs.running()} == {job.id for job in found if job.status is PROCESSING}

    def teardown(self) -> None:
        for expected in self.model.values():
            job = self.store.jobs.get(expected.id)
            assert (job.status, job.attempt, job.max_attempts) == (
                expected.status,
                expected.attempt,
                expected.max_attempts,
            )
            assert [output.id for output in self.store.outputs.of_job(job.id)] == expected.outputs

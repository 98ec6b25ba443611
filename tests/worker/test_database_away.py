"""A database outage delays jobs, but loses none and publishes none twice."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.errors import DatabaseUnavailable
from app.services.ops.orphans import sweep_orphans
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Harness

pytestmark = pytest.mark.usefixtures("hurried")
AWAY = DatabaseUnavailable("The database does not answer.")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.media.publish.TRY_AGAIN_SECONDS", 0.01)


def breaks(monkeypatch: pytest.MonkeyPatch, store: object, name: str, times: int, *, after: bool = False) -> list[str]:
    """Have `store.name` fail the first `times` times, before or `after` its work was done. Returns the calls."""
    honest, calls = getattr(store, name), []

    def broken(*arguments, **keywords):
        calls.append(name)
        if len(calls) > times:
            return honest(*arguments, **keywords)
        if after:
            honest(*arguments, **keywords)
        raise AWAY

    monkeypatch.setattr(store, name, broken)
    return calls


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_away_while_completing(harness: Harness, engine: FakeEngine, monkeypatch, after: bool) -> None:
    calls = breaks(monkeypatch, harness.context.claims, "complete", 1 if after else 3, after=after)
    running = harness.start(engine)
    seen = harness.completed(harness.submit())
    running.stop()
    assert len(calls) == (2 if after else 4)
    assert engine.ran == ["a boat"]
    assert seen.job.attempt == 1
    assert harness.files() == sorted([seen.outputs[0].path, seen.outputs[0].thumbnail_path])
    assert harness.view(seen.job.id) == seen


def test_away_for_longer_than_a_lease(new_harness, engine: FakeEngine, monkeypatch) -> None:
    """The job is made anew; the first files stay until the sweep finds no row that refers to them."""
    harness = new_harness(LEASE_SECONDS="0.6")
    calls, complete, fail = [], harness.context.claims.complete, harness.context.claims.fail

    def away_for_the_first_attempt(claim, *arguments, **keywords):
        calls.append(claim.attempt)
        if claim.attempt == 1:
            raise AWAY
        complete(claim, *arguments, **keywords)

    def fail_later(claim, *arguments, **keywords):
        if claim.attempt == 1:
            raise AWAY
        return fail(claim, *arguments, **keywords)

    monkeypatch.setattr(harness.context.claims, "complete", away_for_the_first_attempt)
    monkeypatch.setattr(harness.context.claims, "fail", fail_later)
    harness.start(engine)
    seen = harness.completed(harness.submit())
    assert seen.job.attempt == 2
    assert len(harness.files()) == 4
    assert sweep_orphans(harness.context, older_than=-1.0)[0] == 2
    assert harness.files() == sorted([seen.outputs[0].path, seen.outputs[0].thumbnail_path])


def test_away_while_claiming(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    job_id = harness.submit()
    calls = breaks(monkeypatch, harness.context.claims, "claim", 2)
    harness.start(engine)
    harness.completed(job_id)
    assert len(calls) >= 3


@pytest.mark.parametrize("name", ["heartbeat", "progress", "check"])
def test_away_during_a_heartbeat(harness: Harness, engine: FakeEngine, monkeypatch, name: str) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    calls = breaks(monkeypatch, harness.context.claims, name, 2)
    wait_until(lambda: len(calls) > 2 or name == "progress", "the heartbeat stopped")
    gate.opened.set()
    assert harness.completed(job_id).job.attempt == 1


def test_away_while_a_failure_is_written(new_harness, engine: FakeEngine, monkeypatch) -> None:
    harness = new_harness(LEASE_SECONDS="0.6")
    breaks(monkeypatch, harness.context.claims, "fail", 1)
    attempts = iter([RuntimeError("Something odd."), None])

    def behave(_):
        if (error := next(attempts)) is not None:
            raise error

    engine.behaviours["a boat"] = behave
    harness.start(engine)
    assert harness.completed(harness.submit()).job.attempt == 2


def test_away_when_the_worker_removes_its_row(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    breaks(monkeypatch, harness.context.workers, "remove", 1)
    running = harness.start(engine)
    assert harness.completed(harness.submit()).job.status is JobStatus.COMPLETED
    running.stop()
    assert running.recycled is False

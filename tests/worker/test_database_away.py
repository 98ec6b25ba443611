"""A database that goes away in the middle costs time, never a job and never a second publication."""

from __future__ import annotations

import pytest

from app.core.job import JobStatus
from app.errors import DatabaseUnavailable
from app.services.ops.orphans import sweep_orphans
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, Gate
from tests.worker.harness import Place

pytestmark = pytest.mark.usefixtures("hurried")
AWAY = DatabaseUnavailable("The database does not answer.")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.media.publish.TRY_AGAIN_SECONDS", 0.01)


def breaks(monkeypatch: pytest.MonkeyPatch, store: object, name: str, times: int, *, after: bool = False) -> list[str]:
    """Have `store.name` fail the first `times` times, before or `after` its work was done. Gives the calls."""
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
def test_away_while_completing(place: Place, engine: FakeEngine, monkeypatch, after: bool) -> None:
    calls = breaks(monkeypatch, place.installation.claims, "complete", 1 if after else 3, after=after)
    running = place.start(engine)
    seen = place.completed(place.submit())
    running.stop()
    assert len(calls) == (2 if after else 4)
    assert engine.ran == ["a boat"]
    assert seen.job.attempt == 1
    assert place.files() == sorted([seen.outputs[0].path, seen.outputs[0].thumbnail_path])
    assert place.view(seen.job.id) == seen


def test_away_for_longer_than_a_lease(new_place, engine: FakeEngine, monkeypatch) -> None:
    """The job is made anew; the first files stay until the sweep knows that nobody points to them."""
    place = new_place(LEASE_SECONDS="0.6")
    calls, complete, fail = [], place.installation.claims.complete, place.installation.claims.fail

    def away_for_the_first_attempt(claim, *arguments, **keywords):
        calls.append(claim.attempt)
        if claim.attempt == 1:
            raise AWAY
        complete(claim, *arguments, **keywords)

    def fail_later(claim, *arguments, **keywords):
        if claim.attempt == 1:
            raise AWAY
        return fail(claim, *arguments, **keywords)

    monkeypatch.setattr(place.installation.claims, "complete", away_for_the_first_attempt)
    monkeypatch.setattr(place.installation.claims, "fail", fail_later)
    place.start(engine)
    seen = place.completed(place.submit())
    assert seen.job.attempt == 2
    assert len(place.files()) == 4
    assert sweep_orphans(place.installation, older_than=-1.0)[0] == 2
    assert place.files() == sorted([seen.outputs[0].path, seen.outputs[0].thumbnail_path])


def test_away_while_asking_for_work(place: Place, engine: FakeEngine, monkeypatch) -> None:
    job_id = place.submit()
    calls = breaks(monkeypatch, place.installation.claims, "claim", 2)
    place.start(engine)
    place.completed(job_id)
    assert len(calls) >= 3


@pytest.mark.parametrize("name", ["heartbeat", "progress", "look"])
def test_away_while_the_keeper_beats(place: Place, engine: FakeEngine, monkeypatch, name: str) -> None:
    gate = engine.behaviours["a boat"] = Gate()
    place.start(engine)
    job_id = place.submit()
    gate.wait()
    calls = breaks(monkeypatch, place.installation.claims, name, 2)
    wait_until(lambda: len(calls) > 2 or name == "progress", "the keeper gave up")
    gate.opened.set()
    assert place.completed(job_id).job.attempt == 1


def test_away_while_a_failure_is_written(new_place, engine: FakeEngine, monkeypatch) -> None:
    place = new_place(LEASE_SECONDS="0.6")
    breaks(monkeypatch, place.installation.claims, "fail", 1)
    attempts = iter([RuntimeError("Something odd."), None])

    def behave(_):
        if (error := next(attempts)) is not None:
            raise error

    engine.behaviours["a boat"] = behave
    place.start(engine)
    assert place.completed(place.submit()).job.attempt == 2


def test_away_when_the_worker_signs_off(place: Place, engine: FakeEngine, monkeypatch) -> None:
    breaks(monkeypatch, place.installation.workers, "remove", 1)
    running = place.start(engine)
    assert place.completed(place.submit()).job.status is JobStatus.COMPLETED
    running.stop()
    assert running.recycled is False

"""Following a job: all its states, each once, until the end; with and without notifications."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.job import JobStatus, JobView, Phase, Progress
from app.errors import JobNotFound
from app.services.context import AppContext, open_context
from app.services.jobs.notifications import JobNotifier
from tests.store.harness import Store
from tests.waiting import PATIENCE


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    settings = load_settings(
        {}, None, database_url=f"sqlite:///{tmp_path / 'queue.db'}", images_dir=tmp_path / "images"
    )
    opened = open_context(settings)
    yield opened
    opened.close()


@pytest.fixture
def store(context: AppContext) -> Store:
    return Store(context.database)


class Follower(threading.Thread):
    """Follows a job in a thread; `seen` collects the states."""

    def __init__(self, notifier: JobNotifier, job_id: str, **options: float) -> None:
        super().__init__(daemon=True)
        self._states = notifier.follow(job_id, **options)  # type: ignore[arg-type]
        self._changed = threading.Condition()
        self.seen: list[JobView] = []
        self.start()

    def run(self) -> None:
        for state in self._states:
            if state is not None:
                with self._changed:
                    self.seen.append(state)
                    self._changed.notify_all()

    def wait_for(self, count: int) -> JobView:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, 20)
            return self.seen[count - 1]


def test_every_state_is_seen_once_to_the_end(context: AppContext, store: Store) -> None:
    job = store.submit()
    follower = Follower(JobNotifier(context), job.id)
    assert follower.wait_for(1).job.status is JobStatus.PENDING
    claim = store.claim()
    context.notifications.publish("news", job.id)
    assert follower.wait_for(2).job.status is JobStatus.PROCESSING
    store.claims.progress(claim, Progress(Phase.GENERATING, 4, 16))
    context.notifications.publish("news", job.id)
    assert follower.wait_for(3).job.progress.step == 4
    store.complete(claim)
    context.notifications.publish("news", job.id)
    done = follower.wait_for(4)
    assert done.job.status is JobStatus.COMPLETED
    assert len(done.outputs) == 1
    follower.join(PATIENCE)
    assert not follower.is_alive()
    revisions = [state.job.revision for state in follower.seen]
    assert revisions == sorted(set(revisions))


def test_without_a_ring_the_slow_poll_finds_the_change(context: AppContext, store: Store) -> None:
    job = store.submit()
    follower = Follower(JobNotifier(context), job.id)
    follower.wait_for(1)
    store.jobs.cancel(job.id)
    assert follower.wait_for(2).job.status is JobStatus.CANCELLED


def test_a_returning_follower_gets_only_newer_states(context: AppContext, store: Store) -> None:
    job = store.submit()
    store.complete(store.claim())
    revision = store.jobs.revision(job.id)
    assert revision is not None
    notifier = JobNotifier(context)
    assert [state is not None for state in notifier.follow(job.id, after_revision=revision - 1)] == [True]
    assert list(notifier.follow(job.id, after_revision=revision)) == []


def test_idle_followers_get_none(context: AppContext, store: Store) -> None:
    states = JobNotifier(context).follow(store.submit().id, idle_seconds=0.01)
    assert next(states) is not None
    assert next(states) is None
    states.close()


def test_an_unknown_job_raises_at_once(context: AppContext) -> None:
    with pytest.raises(JobNotFound):
        next(JobNotifier(context).follow("nothing"))


def test_waiting_ends_with_the_job_or_with_patience(context: AppContext, store: Store) -> None:
    notifier = JobNotifier(context)
    job = store.submit()
    assert notifier.wait_until_done(job.id, timeout=0.05).job.status is JobStatus.PENDING
    assert notifier.wait_until_done(job.id, timeout=0).job.status is JobStatus.PENDING

    def work() -> None:
        store.complete(store.claim())
        context.notifications.publish("news", job.id)

    timer = threading.Timer(0.1, work)
    timer.start()
    assert notifier.wait_until_done(job.id, timeout=PATIENCE).job.status is JobStatus.COMPLETED
    timer.join()


def test_followers_of_one_job_do_not_disturb_each_other_nor_stay_behind(context: AppContext, store: Store) -> None:
    notifier = JobNotifier(context)
    job, other = store.submit(), store.submit()
    followers = [Follower(notifier, job.id) for _ in range(3)]
    for follower in followers:
        follower.wait_for(1)
    store.jobs.cancel(job.id)
    for ringing in (other.id, job.id):
        context.notifications.publish("news", ringing)
    for follower in followers:
        assert follower.wait_for(2).job.status is JobStatus.CANCELLED
        follower.join(PATIENCE)
    assert notifier._followers == {}
    assert notifier._versions == {}

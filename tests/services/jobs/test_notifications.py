"""Following a job: every state it has, none twice, and an end; with the doorbell, and without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.job import JobStatus, Phase, Progress
from app.errors import JobNotFound
from app.services.context import Installation, open_installation
from app.services.jobs.notifications import Newsroom
from app.services.jobs.status import JobView
from tests.store.harness import Store
from tests.waiting import PATIENCE


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    settings = load_settings(
        {}, None, database_url=f"sqlite:///{tmp_path / 'queue.db'}", images_dir=tmp_path / "images"
    )
    opened = open_installation(settings)
    yield opened
    opened.close()


@pytest.fixture
def store(installation: Installation) -> Store:
    return Store(installation.database)


class Follower(threading.Thread):
    """Follows a job on a thread of its own; `seen` fills as it goes."""

    def __init__(self, newsroom: Newsroom, job_id: str, **options: float) -> None:
        super().__init__(daemon=True)
        self._states = newsroom.follow(job_id, **options)  # type: ignore[arg-type]
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


def test_every_state_is_seen_once_to_the_end(installation: Installation, store: Store) -> None:
    job = store.submit()
    follower = Follower(Newsroom(installation), job.id)
    assert follower.wait_for(1).job.status is JobStatus.PENDING
    claim = store.claim()
    installation.bell.ring("news", job.id)
    assert follower.wait_for(2).job.status is JobStatus.PROCESSING
    store.claims.progress(claim, Progress(Phase.GENERATING, 4, 16))
    installation.bell.ring("news", job.id)
    assert follower.wait_for(3).job.progress.step == 4
    store.complete(claim)
    installation.bell.ring("news", job.id)
    done = follower.wait_for(4)
    assert done.job.status is JobStatus.COMPLETED
    assert len(done.outputs) == 1
    follower.join(PATIENCE)
    assert not follower.is_alive()
    revisions = [state.job.revision for state in follower.seen]
    assert revisions == sorted(set(revisions))


def test_without_a_ring_the_slow_poll_finds_the_change(installation: Installation, store: Store) -> None:
    job = store.submit()
    follower = Follower(Newsroom(installation), job.id)
    follower.wait_for(1)
    store.jobs.cancel(job.id)
    assert follower.wait_for(2).job.status is JobStatus.CANCELLED


def test_who_comes_back_is_told_only_what_is_new(installation: Installation, store: Store) -> None:
    job = store.submit()
    store.complete(store.claim())
    revision = store.jobs.revision(job.id)
    assert revision is not None
    newsroom = Newsroom(installation)
    assert [state is not None for state in newsroom.follow(job.id, after_revision=revision - 1)] == [True]
    assert list(newsroom.follow(job.id, after_revision=revision)) == []


def test_silence_is_told_too(installation: Installation, store: Store) -> None:
    states = Newsroom(installation).follow(store.submit().id, idle_seconds=0.01)
    assert next(states) is not None
    assert next(states) is None
    states.close()


def test_an_unknown_job_is_told_at_once(installation: Installation) -> None:
    with pytest.raises(JobNotFound):
        next(Newsroom(installation).follow("nothing"))


def test_waiting_ends_with_the_job_or_with_patience(installation: Installation, store: Store) -> None:
    newsroom = Newsroom(installation)
    job = store.submit()
    assert newsroom.wait_until_done(job.id, timeout=0.05).job.status is JobStatus.PENDING
    assert newsroom.wait_until_done(job.id, timeout=0).job.status is JobStatus.PENDING

    def work() -> None:
        store.complete(store.claim())
        installation.bell.ring("news", job.id)

    timer = threading.Timer(0.1, work)
    timer.start()
    assert newsroom.wait_until_done(job.id, timeout=PATIENCE).job.status is JobStatus.COMPLETED
    timer.join()


def test_followers_of_one_job_do_not_disturb_each_other_nor_stay_behind(
    installation: Installation, store: Store
) -> None:
    newsroom = Newsroom(installation)
    job, other = store.submit(), store.submit()
    followers = [Follower(newsroom, job.id) for _ in range(3)]
    for follower in followers:
        follower.wait_for(1)
    store.jobs.cancel(job.id)
    for ringing in (other.id, job.id):
        installation.bell.ring("news", ringing)
    for follower in followers:
        assert follower.wait_for(2).job.status is JobStatus.CANCELLED
        follower.join(PATIENCE)
    assert newsroom._followers == {}
    assert newsroom._versions == {}

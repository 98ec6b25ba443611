"""Turns and positions: the order of jobs across clients, and the positions reported to them."""

from __future__ import annotations

from app.core.job import JobStatus
from app.errors import ModelUnavailable
from tests.store.harness import Store


def serve_all(store: Store) -> list[str]:
    order = []
    while (claim := store.claims.claim("w")) is not None:
        order.append(claim.job_id)
        store.complete(claim)
    return order


def test_clients_take_turns(store: Store) -> None:
    flood = [store.submit(client="flood").id for _ in range(5)]
    single = store.submit(client="single").id
    late = [store.submit(client="late").id for _ in range(2)]
    assert serve_all(store) == [flood[0], single, late[0], flood[1], late[1], *flood[2:]]


def test_one_client_s_jobs_keep_their_order(store: Store) -> None:
    jobs = [store.submit().id for _ in range(6)]
    assert serve_all(store) == jobs


def test_a_newcomer_is_served_next_however_long_the_flood_has_been_running(store: Store) -> None:
    for _ in range(30):
        store.submit(client="flood")
    for _ in range(12):
        store.complete(store.claim())
    newcomer = store.submit(client="newcomer")
    assert store.jobs.position(newcomer) == 2
    ahead = store.claim()
    assert ahead.job_id != newcomer.id
    assert store.claim().job_id == newcomer.id


def test_having_been_idle_saves_up_no_turns(store: Store) -> None:
    """A client that returns after a while gets its share from now on, not what it could have had before."""
    for _ in range(20):
        store.submit(client="steady")
    for _ in range(10):
        store.complete(store.claim())
    for _ in range(5):
        store.submit(client="back")
    clients = []
    for _ in range(10):
        claim = store.claim()
        clients.append(store.jobs.get(claim.job_id).client_id)
        store.complete(claim)
    assert clients.count("back") == 5
    assert "back" in clients[:2]
    assert clients[:4].count("steady") == 2


def test_priorities_have_turns_of_their_own(store: Store) -> None:
    for _ in range(3):
        store.submit(client="a", priority=0)
    urgent = [store.submit(client="a", priority=1).id for _ in range(2)]
    other = store.submit(client="b", priority=1).id
    assert serve_all(store)[:3] == [urgent[0], other, urgent[1]]


def test_a_job_left_from_a_busy_day_is_served_before_newcomers(store: Store) -> None:
    """Turns never restart at zero: a returned job is not put behind a new queue."""
    for _ in range(30):
        last = store.submit(client="flood")
    while (claim := store.claim()).job_id != last.id:
        store.complete(claim)
    for number in range(3):  # the line was empty: a new busy period
        store.submit(client=f"new-{number}")
    store.lose(claim)
    assert store.claim().job_id == last.id


def test_a_job_that_comes_back_does_not_open_the_past_to_newcomers(store: Store) -> None:
    """The turn being served is not that of a returned job, or new floods would be put before all other jobs."""
    lost = store.submit(client="unlucky")
    claim = store.claim()
    for _ in range(20):
        store.submit(client="steady")
    for _ in range(10):
        store.complete(store.claim("w2"))
    store.lose(claim)
    store.edit(lost.id, available_at=store.now() + 60)  # held back
    for _ in range(8):
        store.submit(client="flood")
    clients = []
    for _ in range(8):
        claim = store.claim()
        clients.append(store.jobs.get(claim.job_id).client_id)
        store.complete(claim)
    assert clients.count("steady") == 4


def test_a_retried_job_goes_to_the_end_of_its_client_s_line(store: Store) -> None:
    """Otherwise clients could overtake others by cancel and retry: every cancelled job would keep its early turn."""
    cancelled = []
    for _ in range(5):
        job = store.submit(client="sly")
        store.jobs.cancel(job.id)
        cancelled.append(job.id)
    honest = [store.submit(client="honest").id for _ in range(3)]
    for job_id in cancelled:
        store.jobs.retry(job_id, max_attempts=3)
    order = serve_all(store)
    assert [job_id in honest for job_id in order[:6]].count(True) == 3


def test_a_retried_job_finds_its_place_after_a_quiet_time(store: Store) -> None:
    for _ in range(20):
        job = store.submit(client="busy")
    while (claim := store.claim()).job_id != job.id:
        store.complete(claim)
    store.claims.fail(claim, ModelUnavailable())
    for number in range(3):
        store.submit(client=f"new-{number}")
    store.jobs.retry(job.id, max_attempts=3)
    position = store.jobs.position(store.jobs.get(job.id))
    assert position is not None
    assert position <= 4


def test_positions_count_from_one_in_the_order_of_service(store: Store) -> None:
    for number in range(7):
        store.submit(client="ab"[number % 2], priority=number % 3)
    for expected in range(7, 0, -1):
        waiting = store.jobs.waiting()
        assert [store.jobs.position(job) for job in waiting] == list(range(1, expected + 1))
        assert store.claim().job_id == waiting[0].id


def test_a_job_that_does_not_wait_has_no_position(store: Store) -> None:
    store.submit()
    claim = store.claim()
    assert store.jobs.position(store.jobs.get(claim.job_id)) is None
    store.complete(claim)
    assert store.jobs.position(store.jobs.get(claim.job_id)) is None


def test_running_waiting_and_newest(store: Store) -> None:
    jobs = [store.submit() for _ in range(6)]
    claims = [store.claim(), store.claim()]
    store.complete(claims[0])
    store.jobs.cancel(jobs[5].id)
    assert [job.id for job in store.jobs.running()] == [jobs[1].id]
    assert [job.id for job in store.jobs.waiting(limit=2)] == [jobs[2].id, jobs[3].id]
    wanted = [JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.PENDING]
    first = store.jobs.newest(wanted, limit=3)
    assert [job.id for job in first] == [jobs[5].id, jobs[4].id, jobs[3].id]
    rest = store.jobs.newest(wanted, limit=3, before_seq=first[-1].seq)
    assert [job.id for job in rest] == [jobs[2].id, jobs[0].id]
    assert store.jobs.newest([], limit=3) == []

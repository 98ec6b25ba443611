"""The outbox as a queue: leases, fences, the order of attempts, replays and deletion."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from app.core import webhooks as rules
from app.core.webhooks import PAUSE, RETRY_DELAYS, TRIES, Delivery, DeliveryState, endpoint_of, retry_delay
from app.errors import DeliveryNotFound
from app.store.db.schema import webhook_deliveries
from app.store.ops.webhooks import SkippedReceivers, WebhookStore
from tests.services.webhooks.conftest import Harness
from tests.waiting import PATIENCE

URL = "https://hooks.example/made"


def claim(harness: Harness, *not_to: str) -> Delivery:
    delivery = harness.webhooks.claim(lease_seconds=60, skipped=SkippedReceivers(endpoints=not_to))
    assert delivery is not None, "nothing is due"
    return delivery


def edit(harness: Harness, delivery: Delivery, **values: object) -> None:
    with harness.context.database.write() as connection:
        connection.execute(update(webhook_deliveries).where(webhook_deliveries.c.id == delivery.id).values(**values))


def test_a_claimed_delivery_cannot_be_claimed_until_its_lease_ends(both: Harness) -> None:
    job_id = both.finish(URL)
    first = claim(both)
    assert (first.job_id, first.attempt, first.tries_left) == (job_id, 1, TRIES - 1)
    assert both.webhooks.claim(lease_seconds=60) is None
    edit(both, first, due_at=both.store.now() - 1)  # the dispatcher died
    second = claim(both)
    assert (second.id, second.payload, second.attempt) == (first.id, first.payload, 2)


def test_many_dispatchers_share_the_work_and_none_is_done_twice(both: Harness) -> None:
    for _ in range(20):
        both.finish(URL)
    found: list[str] = []

    def work() -> None:
        while (delivery := both.webhooks.claim(lease_seconds=60)) is not None or len(found) < 20:
            if delivery is not None:
                found.append(delivery.id)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == len(set(found)) == 20


@pytest.mark.parametrize("write", ["delivered", "failed"])
def test_writes_after_a_lost_lease_have_no_effect(both: Harness, write: str) -> None:
    both.finish(URL)
    stale = claim(both)
    edit(both, stale, due_at=both.store.now() - 1)
    claim(both)
    (before,) = both.deliveries()
    if write == "delivered":
        assert not both.webhooks.delivered(stale, 200)
    else:
        assert not both.webhooks.failed(stale, "late", retry_in=None)
    assert both.deliveries() == [before]


def test_delivered_is_delivered(both: Harness) -> None:
    both.finish(URL)
    assert both.webhooks.delivered(claim(both), 204)
    (delivery,) = both.deliveries()
    assert (delivery.state, delivery.response_status, delivery.error) == (DeliveryState.DELIVERED, 204, None)
    assert delivery.delivered_at == pytest.approx(both.store.now(), abs=5)
    edit(both, delivery, due_at=0)
    assert both.webhooks.claim(lease_seconds=60) is None


def test_a_failed_try_is_due_again_after_its_delay(both: Harness) -> None:
    both.finish(URL)
    assert both.webhooks.failed(claim(both), "x" * 5000, response_status=500, retry_in=300)
    (delivery,) = both.deliveries()
    assert (delivery.state, delivery.response_status) == (DeliveryState.PENDING, 500)
    assert len(delivery.error or "") == 300
    assert delivery.due_at == pytest.approx(both.store.now() + 300, abs=5)
    assert both.webhooks.claim(lease_seconds=60) is None


def test_without_another_try_it_is_dead(both: Harness) -> None:
    both.finish(URL)
    assert both.webhooks.failed(claim(both), "no", retry_in=None)
    (delivery,) = both.deliveries()
    assert delivery.state is DeliveryState.DEAD
    edit(both, delivery, due_at=0)
    assert both.webhooks.claim(lease_seconds=60) is None


def test_receivers_can_be_passed_over_and_the_longest_due_goes_first(both: Harness) -> None:
    late, early, other = both.finish(URL), both.finish(URL), both.finish("https://other.example/x")
    edit(both, both.only(early), due_at=1.0)
    assert claim(both, endpoint_of(URL)).job_id == other
    assert [claim(both).job_id for _ in range(2)] == [early, late]


def test_a_first_try_goes_before_every_retry(both: Harness) -> None:
    retried = both.finish(URL)
    both.webhooks.failed(claim(both), "no", retry_in=0)
    edit(both, both.only(retried), due_at=1.0)
    first = both.finish(URL)
    assert claim(both).job_id == first
    assert both.webhooks.claim(lease_seconds=60, retries=False) is None
    assert claim(both).job_id == retried


def test_an_endpoint_that_times_out_is_paused_and_what_waits_keeps_its_tries(both: Harness) -> None:
    for _ in range(2):
        both.finish(URL)
    both.webhooks.failed(claim(both), "slow", retry_in=0, timed_out=True)
    late = both.finish(URL.replace("made", "made?again=1"))  # the query is no other endpoint
    other = both.finish(URL + "/other")
    assert claim(both).job_id == other
    assert both.webhooks.claim(lease_seconds=60) is None
    assert [delivery.tries_left for delivery in both.deliveries(late)] == [TRIES]
    assert min(delivery.due_at for delivery in both.deliveries(late)) > both.store.now() + PAUSE.first - 5


def test_the_pause_grows_with_every_time_and_ends_with_the_first_answer(
    both: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "JITTER", 0.0)
    probe, waiting = both.finish(URL), both.finish(URL)
    pauses = []
    for _ in range(3):
        edit(both, both.only(probe), due_at=0, tries_left=TRIES)
        edit(both, both.only(waiting), due_at=both.store.now() + 5)
        both.webhooks.failed(claim(both), "slow", retry_in=0, timed_out=True)
        pauses.append(both.only(waiting).due_at - both.store.now())
    assert [round(pause / PAUSE.first) for pause in pauses] == [1, 2, 4]
    edit(both, both.only(probe), due_at=0, tries_left=TRIES)
    both.webhooks.failed(claim(both), "the receiver answered 500", response_status=500, retry_in=300)
    assert claim(both).job_id == waiting
    assert both.only(both.finish(URL)).due_at <= both.store.now()


def test_pauses_double_up_to_an_hour() -> None:
    assert [PAUSE.seconds(timeouts) for timeouts in (1, 2, 3, 4)] == [10, 20, 40, 80]
    assert PAUSE.seconds(10_000) == 3600


def test_the_tries_take_about_a_day() -> None:
    assert 0.9 * 86400 < sum(RETRY_DELAYS) < 1.1 * 86400
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)


def test_the_delays_follow_the_table_with_jitter() -> None:
    for draw, factor in ((0.0, 1 - rules.JITTER), (0.5, 1.0), (1.0, 1 + rules.JITTER)):
        given = [retry_delay(left, draw) for left in range(TRIES - 1, 0, -1)]
        assert given == [pytest.approx(delay * factor) for delay in RETRY_DELAYS]
    assert retry_delay(0, 0.5) is None
    assert retry_delay(-1, 0.5) is None  # the process died during the last one


def test_a_replay_starts_anew_under_the_same_id(both: Harness) -> None:
    both.finish(URL)
    first = claim(both)
    both.webhooks.failed(first, "no", retry_in=None)
    replayed = both.webhooks.replay(first.id)
    assert (replayed.state, replayed.tries_left, replayed.delivered_at) == (DeliveryState.PENDING, TRIES, None)
    again = claim(both)
    assert (again.id, again.payload, again.attempt) == (first.id, first.payload, 2)
    assert not both.webhooks.delivered(first, 200)  # the number of the attempt never goes back


def test_an_unknown_delivery_cannot_be_replayed(both: Harness) -> None:
    with pytest.raises(DeliveryNotFound):
        both.webhooks.replay("0" * 32)


def test_pages_are_newest_first_and_can_be_narrowed(both: Harness) -> None:
    jobs = [both.finish(URL) for _ in range(3)]
    both.webhooks.delivered(claim(both), 200)
    newest = both.webhooks.page(limit=2)
    assert [delivery.job_id for delivery in newest] == jobs[:0:-1]
    assert [delivery.job_id for delivery in both.webhooks.page(before_seq=newest[-1].seq)] == jobs[:1]
    assert [delivery.job_id for delivery in both.webhooks.page(job_id=jobs[1])] == [jobs[1]]
    assert [delivery.job_id for delivery in both.webhooks.page(state=DeliveryState.DELIVERED)] == jobs[:1]


def test_tidying_forgets_only_what_ended_long_ago(both: Harness) -> None:
    for _ in range(4):
        both.finish(URL)
    old, young, dead = claim(both), claim(both), claim(both)
    both.webhooks.delivered(old, 200)
    both.webhooks.delivered(young, 200)
    both.webhooks.failed(dead, "no", retry_in=None)
    long_ago = both.store.now() - 31 * 86400
    (waiting,) = [delivery for delivery in both.deliveries() if delivery.attempt == 0]
    for delivery in (old, dead, waiting):
        edit(both, delivery, attempted_at=long_ago, created_at=long_ago)
    assert both.webhooks.clean_up() == 2
    assert {delivery.id for delivery in both.deliveries()} == {young.id, waiting.id}


def test_a_clock_set_back_does_not_hold_a_message_up(both: Harness) -> None:
    both.finish(URL)
    (delivery,) = both.deliveries()
    edit(both, delivery, due_at=both.store.now() + 400 * 86400)
    both.webhooks.clean_up()
    assert claim(both).id == delivery.id


def test_the_signing_key_is_generated_once(both: Harness) -> None:
    stores = [WebhookStore(both.context.database) for _ in range(6)]
    keys: list[str] = []
    together = threading.Barrier(len(stores))

    def ask(number: int) -> None:
        together.wait()
        keys.append(stores[number].signing_key(lambda: f"key {number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(keys) == len(stores)
    assert set(keys) == {both.webhooks.signing_key(lambda: "late")}

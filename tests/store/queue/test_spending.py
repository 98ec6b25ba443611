"""The limit of a client's remote generations in a day: counted with the job, in one transaction."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from app.core.prediction import PredictionStatus, Report
from app.core.spending import Charge
from app.errors import ProviderError, SpendLimit
from app.store.queue.idempotency import IdempotencyKey
from app.store.queue.predictions import PredictionStore
from tests.store.harness import Store, a_request

TWO = Charge(price=0.1, most_predictions=2)


def enqueue(store: Store, charge: Charge | None, *, client: str = "alice", key: str | None = None) -> str:
    idempotency = None if key is None else IdempotencyKey(key, "0" * 64)
    made = store.jobs.enqueue(a_request(), client_id=client, lane="remote", charge=charge, idempotency=idempotency)
    return made[0].id


def spent(store: Store) -> list[tuple[str, int, float]]:
    with store.database.read() as connection:
        rows = connection.execute(text("SELECT client_id, predictions, amount FROM spending ORDER BY day, client_id"))
        return [(row[0], row[1], pytest.approx(row[2])) for row in rows]


def test_the_limit_of_predictions(store: Store) -> None:
    for _ in range(2):
        enqueue(store, TWO)
    with pytest.raises(SpendLimit, match="At most 2 remote generations a day") as refused:
        enqueue(store, TWO)
    assert 0 < (refused.value.retry_after or 0) <= 86_400
    assert "T00:00:00" in refused.value.detail, "it ends at midnight"
    assert store.jobs.count_pending() == 2
    assert spent(store) == [("alice", 2, 0.2)], "what was refused is not counted"
    enqueue(store, TWO, client="bob")
    enqueue(store, None)


def test_the_limit_of_an_amount(store: Store) -> None:
    limited = Charge(price=0.1, most_amount=0.3)
    for _ in range(3):
        enqueue(store, limited)
    with pytest.raises(SpendLimit, match=r"At most 0\.3 a day .* this one: 0\.1"):
        enqueue(store, limited)
    enqueue(store, Charge(price=0.0, most_amount=0.3))


def test_the_next_day_begins_at_nothing(store: Store) -> None:
    for _ in range(2):
        enqueue(store, TWO)
    with store.database.write() as connection:
        connection.execute(text("UPDATE spending SET day = day - 1"))
    enqueue(store, TWO)
    assert [row[1] for row in spent(store)] == [2, 1]
    with store.database.write() as connection:
        connection.execute(text("UPDATE spending SET day = day - 8 WHERE predictions = 2"))
    enqueue(store, TWO)
    assert [row[1] for row in spent(store)] == [2], "old days are forgotten"


def test_a_repeated_request_is_charged_once(store: Store) -> None:
    assert enqueue(store, TWO, key="k") == enqueue(store, TWO, key="k")
    assert spent(store) == [("alice", 1, 0.1)]


def test_concurrent_requests_do_not_slip_through(store: Store) -> None:
    refused: list[SpendLimit] = []

    def submit() -> None:
        try:
            enqueue(store, TWO)
        except SpendLimit as error:
            refused.append(error)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.jobs.count_pending(), len(refused)) == (2, 4)


URL = "https://x.example/1.png"


@pytest.mark.parametrize(
    ("ends", "urls", "charged"),
    [
        (PredictionStatus.FAILED, (URL,), 2),
        (PredictionStatus.SUCCEEDED, (URL,), 1),
        (PredictionStatus.SUCCEEDED, (), 2),  # the images were in the answer, and are lost
    ],
)
def test_a_retry_is_charged_if_it_is_paid_for_again(
    store: Store, ends: PredictionStatus, urls: tuple[str, ...], charged: int
) -> None:
    job_id = enqueue(store, TWO)
    claim = store.claims.claim("w1", lane="remote")
    assert claim is not None
    predictions = PredictionStore(store.database)
    predictions.created(claim, predictions.intend(claim, source="replicate", model="a/b", input={}), "p1")
    predictions.observed("replicate", Report("p1", ends, urls))
    store.claims.fail(claim, ProviderError("no"))
    store.jobs.retry(job_id, max_attempts=1, charge=TWO)
    assert spent(store) == [("alice", charged, 0.1 * charged)]


def test_a_retry_beyond_the_limit_changes_nothing(store: Store) -> None:
    one = Charge(price=0.1, most_predictions=1)
    job_id = enqueue(store, one)
    claim = store.claims.claim("w1", lane="remote")
    assert claim is not None
    predictions = PredictionStore(store.database)
    predictions.created(claim, predictions.intend(claim, source="replicate", model="a/b", input={}), "p1")
    predictions.observed("replicate", Report("p1", PredictionStatus.FAILED))
    store.claims.fail(claim, ProviderError("no"))
    with pytest.raises(SpendLimit):
        store.jobs.retry(job_id, max_attempts=1, charge=one)
    assert (store.jobs.get(job_id).status, predictions.of_job(job_id) is not None) == ("FAILED", True)

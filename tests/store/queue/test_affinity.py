"""A worker prefers loaded models, and the first job in the queue cannot be overtaken for ever."""

from __future__ import annotations

from app.core.scheduling import MIN_AFFINITY_BOUND
from app.store.db.schema import speeds
from tests.store.harness import Store


def test_a_job_of_a_loaded_model_passes_a_young_head(store: Store) -> None:
    head, warm = store.submit("cold"), store.submit("warm")
    assert store.claim("w1", "warm").job_id == warm.id
    assert store.claim("w1", "warm").job_id == head.id


def test_the_first_in_line_of_several_loaded_models_is_taken(store: Store) -> None:
    store.submit("cold")
    second = store.submit("warm-b")
    store.submit("warm-a")
    assert store.claim("w1", "warm-a", "warm-b").job_id == second.id


def test_a_worker_without_models_takes_the_head(store: Store) -> None:
    head = store.submit("cold")
    store.submit("warm")
    assert store.claim("w1").job_id == head.id


def test_a_head_passed_over_for_long_enough_is_taken(store: Store) -> None:
    head, warm = store.submit("cold"), [store.submit("warm") for _ in range(3)]
    assert store.claim("w1", "warm").job_id == warm[0].id
    store.edit(head.id, overtaken_at=store.now() - MIN_AFFINITY_BOUND + 5)
    assert store.claim("w1", "warm").job_id == warm[1].id
    store.edit(head.id, overtaken_at=store.now() - MIN_AFFINITY_BOUND - 1)
    assert store.claim("w1", "warm").job_id == head.id


def test_waiting_in_a_long_line_is_not_being_passed_over(store: Store) -> None:
    """Otherwise a backlog older than the bound would swap models with every job under the highest load."""
    head, warm = store.submit("cold"), store.submit("warm")
    store.edit(head.id, created_at=store.now() - 100 * MIN_AFFINITY_BOUND)
    assert store.claim("w1", "warm").job_id == warm.id


def test_the_bound_follows_how_long_the_head_s_model_takes_to_load(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(speeds.insert().values(model_id="cold", bucket="load", seconds=100.0, samples=1))
    head, warm = store.submit("cold"), [store.submit("warm") for _ in range(3)]
    assert store.claim("w1", "warm").job_id == warm[0].id
    store.edit(head.id, overtaken_at=store.now() - 400)
    assert store.claim("w1", "warm").job_id == warm[1].id
    store.edit(head.id, overtaken_at=store.now() - 501)
    assert store.claim("w1", "warm").job_id == head.id


def test_a_higher_priority_is_never_passed_over(store: Store) -> None:
    urgent = store.submit("cold", priority=1)
    store.submit("warm", priority=0)
    assert store.claim("w1", "warm").job_id == urgent.id


def test_the_count_of_being_passed_over_starts_anew_with_each_attempt(store: Store) -> None:
    head = store.submit("cold")
    store.edit(head.id, overtaken_at=1.0)
    claim = store.claim("w1", "warm")
    assert store.row(head.id).overtaken_at is None
    store.lose(claim)
    warm = store.submit("warm")
    assert store.claim("w1", "warm").job_id == warm.id

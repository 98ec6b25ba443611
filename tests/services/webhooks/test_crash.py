"""A process killed at the worst moment loses no message; receivers detect a repeat by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import update

from app.config import ROOT
from app.services.webhooks.dispatcher import WebhookDispatcher
from app.store.db.schema import webhook_deliveries
from tests.services.webhooks.conftest import SECRET, Harness, eventually
from tests.services.webhooks.receiver import Receiver

pytestmark = pytest.mark.e2e

ENDS_A_JOB_AND_DIES = """
import os, signal
from tests.store.harness import Store
from app.store.db.database import Database
store = Store(Database(os.environ["DATABASE_URL"]))
store.complete(store.claim())
os.kill(os.getpid(), signal.SIGKILL)
"""
DELIVERS = """
import time
from app.config import load_settings
from app.services.webhooks.dispatcher import WebhookDispatcher
from app.services.context import open_context
WebhookDispatcher(open_context(load_settings(env_file=None))).start()
time.sleep(60)
"""


def start(harness: Harness, code: str) -> subprocess.Popen[bytes]:
    settings = harness.context.settings
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": settings.database_url,
        "IMAGES_DIR": str(settings.images_dir),
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_TIMEOUT_SECONDS": "30",
    }
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)


def test_a_crash_between_the_end_of_the_job_and_the_delivery(
    both: Harness, receiver: Receiver, start_dispatcher: Callable[[Harness], WebhookDispatcher]
) -> None:
    job_id = both.submit(receiver.url())
    assert start(both, ENDS_A_JOB_AND_DIES).wait(60) == -signal.SIGKILL
    assert both.store.row(job_id).status == "COMPLETED"
    start_dispatcher(both)
    eventually(lambda: both.only(job_id).state == "DELIVERED")
    assert len(receiver.calls) == 1


def test_a_crash_in_the_middle_of_a_delivery(
    both: Harness, receiver: Receiver, start_dispatcher: Callable[[Harness], WebhookDispatcher]
) -> None:
    job_id = both.finish(receiver.url("/hang"))
    process = start(both, DELIVERS)
    try:
        eventually(lambda: receiver.calls, seconds=60)
    finally:
        process.kill()
        process.wait()
    receiver.release.set()
    delivery = both.only(job_id)
    assert (delivery.state, delivery.attempt) == ("PENDING", 1)
    assert delivery.due_at > both.store.now() + 30  # leased: not delivered by another process meanwhile
    with both.context.database.write() as connection:
        connection.execute(update(webhook_deliveries).values(due_at=both.store.now()))  # a minute later
    start_dispatcher(both)
    eventually(lambda: both.only(job_id).state == "DELIVERED")
    first, second = receiver.calls
    assert (first.id, first.body) == (second.id, second.body)

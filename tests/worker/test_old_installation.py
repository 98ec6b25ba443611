"""An installation with the schema of migration 0017 is taken over: kept in tests/fixtures as SQL and files.

One job is completed and its webhook still to be delivered; one was waiting.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.core.job import JobStatus
from app.core.webhooks import DeliveryState, endpoint_of
from app.store.ops.webhooks import WebhookStore
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness

KEPT = Path(__file__).parents[1] / "fixtures" / "installation-schema-0017"
DONE, WAITING = "01a222c22ef2f77f573d069b9edaa261", "01a222c22fd45e6a928c40ed8996f882"


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    database = tmp_path / "kept.db"
    connection = sqlite3.connect(database)
    connection.executescript((KEPT / "cyberimage.sql").read_text())
    connection.close()
    shutil.copytree(KEPT / "images", tmp_path / "images")
    harness = Harness(tmp_path, database)
    yield harness
    harness.close()


@pytest.fixture
def client(harness: Harness) -> Iterator[FlaskClient]:
    app = create_app(harness.context.settings)
    yield app.test_client()
    app.extensions["cyberimage"].close()


def test_its_images_are_unchanged_and_can_be_searched(client: FlaskClient) -> None:
    body = client.get(f"/api/status/{DONE}").json
    assert body["status"] == "COMPLETED"
    (image,) = body["images"]
    (file,) = (KEPT / "images").rglob("*.png")
    assert client.get(image["url"]).data == file.read_bytes()
    found = client.get("/api/images", query_string={"search": "wolken über"}).json["images"]
    assert [one["image_id"] for one in found] == [image["image_id"]]


def test_its_waiting_job_is_drawn(harness: Harness) -> None:
    assert harness.view(WAITING).job.status is JobStatus.PENDING
    harness.start(FakeEngine())
    seen = harness.completed(WAITING)
    assert seen.job.request.prompt == "a boat that waits"
    assert [output.seed for output in seen.outputs] == [11, 12]


def test_its_webhooks_are_still_delivered(harness: Harness) -> None:
    store = WebhookStore(harness.context.database)
    (delivery,) = store.page(job_id=DONE)
    assert (delivery.state, delivery.endpoint) == (DeliveryState.PENDING, endpoint_of(delivery.url))
    claimed = store.claim(lease_seconds=60)
    assert claimed is not None
    assert claimed.id == delivery.id

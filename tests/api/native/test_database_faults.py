"""What a client is answered while the database is locked, removed or damaged."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from app import create_app
from app.monitoring import fault_log
from app.store.db.database import Database

ASKED = {"prompt": "a red boat"}


@pytest.fixture
def path(context) -> Path:
    return context.settings.sqlite_path


def test_a_lock_of_another_program_is_answered_within_seconds(settings_in, tmp_path, problem, monkeypatch):
    monkeypatch.setattr("app.REQUEST_LOCK_SECONDS", 0.2)
    app = create_app(settings_in(tmp_path))
    client, context = app.test_client(), app.extensions["cyberimage"].context
    other = Database(context.settings.database_url)
    with other.engine.begin():
        refused = client.post("/api/generate", json=ASKED)
        assert "locked by another program" in problem(refused, 503, "database_unavailable")["detail"]
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get("/api/queue").status_code == 200, "reading goes on"
    assert client.post("/api/generate", json=ASKED).status_code == 202
    assert context.jobs.count_pending() == 1
    other.close()
    context.close()


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_nothing_is_accepted_into_a_file_without_a_name(client, context, path, problem, replaced):
    accepted = client.post("/api/generate", json=ASKED).json["job_id"]
    path.rename(path.with_name("away"))
    if replaced:
        shutil.copy(path.with_name("away"), path)
    for answer in (
        client.post("/api/generate", json=ASKED),
        client.get("/readyz"),
        client.get(f"/api/status/{accepted}"),
        client.get("/api/queue"),
    ):
        assert "removed or replaced" in problem(answer, 503, "database_unavailable")["detail"]
        assert answer.headers["Retry-After"]
    assert client.get("/livez").status_code == 200
    path.unlink(missing_ok=True)
    path.with_name("away").rename(path)
    assert client.get(f"/api/status/{accepted}").json["status"] == "PENDING"
    assert client.post("/api/generate", json=ASKED).status_code == 202


def test_damage_is_answered_with_what_to_do(client, context, path, problem, caplog):
    client.post("/api/generate", json=ASKED)
    context.database.checkpoint()
    context.database.engine.dispose()
    path.write_bytes(b"This is no database. " * 1000)
    with caplog.at_level(logging.ERROR, "cyberimage"):
        for _ in range(3):
            for answer in (client.post("/api/generate", json=ASKED), client.get("/readyz"), client.get("/api/queue")):
                assert "cyberimage restore" in problem(answer, 503, "database_damaged")["detail"]
    assert len([record for record in caplog.records if "damaged" in record.message]) == 1
    assert not any(record.exc_info for record in caplog.records)


def test_an_outage_is_one_line_in_the_log(client, context, path, caplog, monkeypatch):
    monkeypatch.setattr(fault_log.database_faults, "_logged_at", float("-inf"))
    path.rename(path.with_name("away"))
    with caplog.at_level(logging.DEBUG, "cyberimage"):
        for _ in range(50):
            client.post("/api/generate", json=ASKED)
    assert len([record for record in caplog.records if record.name != "cyberimage.requests"]) == 1

"""Reloading settings at run time: only live ones, from their current values, all or none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.services.context import AppContext, open_context
from app.services.ops.reload import LIVE_SETTINGS, reload_settings

LOGGER = "cyberimage.settings"


class Harness:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "settings.env"
        self.places = f"DATABASE_URL=sqlite:///{folder}/db.sqlite\nIMAGES_DIR={folder}/images\n"
        self.write("QUEUE_MAX_PENDING=5\nRATE_LIMIT_READ=9 per minute\n")
        self.context: AppContext = open_context(load_settings({"ENV_FILE": str(self.file)}))

    def write(self, text: str) -> None:
        self.file.write_text(self.places + text)


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    monkeypatch.setenv("ENV_FILE", str(harness.file))
    level = logging.getLogger("cyberimage").level
    yield harness
    logging.getLogger("cyberimage").setLevel(level)
    harness.context.close()


def test_changed_settings_are_applied_and_logged(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.write("QUEUE_MAX_PENDING=7\nRETENTION_DAYS=3\nRATE_LIMIT_READ=9 per minute\nLOG_LEVEL=DEBUG\n")
    with caplog.at_level(logging.INFO, LOGGER):
        assert set(reload_settings(harness.context)) == {"queue_max_pending", "retention_days", "log_level"}
    settings = harness.context.settings
    assert (settings.queue_max_pending, settings.retention_days, settings.rate_limit_read) == (7, 3, "9 per minute")
    assert logging.getLogger("cyberimage").level == logging.DEBUG
    assert "QUEUE_MAX_PENDING is now 7 (was 5)" in caplog.text


def test_what_needs_a_restart_is_named_and_left(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.write("PORT=6000\nQUEUE_MAX_PENDING=5\nRATE_LIMIT_READ=9 per minute\nRATE_LIMIT_GENERATE=1 per day\n")
    assert reload_settings(harness.context) == []
    assert harness.context.settings.port == 5050
    assert harness.context.settings.rate_limit_generate == ""  # nothing is there that could count
    assert "PORT changed; it takes effect at the next start" in caplog.text
    assert "RATE_LIMIT_GENERATE changed" in caplog.text


@pytest.mark.parametrize(
    "text", ["QUEUE_MAX_PENDING=0\nRETENTION_DAYS=3\n", "MODEL_X=broken\nRETENTION_DAYS=3\n", "A='"]
)
def test_what_is_wrong_changes_nothing(harness: Harness, text: str, caplog: pytest.LogCaptureFixture) -> None:
    before = harness.context.settings
    harness.write(text)
    assert reload_settings(harness.context) == ()
    assert harness.context.settings is before
    assert "not reloaded" in caplog.text


def test_a_file_that_went_away_changes_nothing(harness: Harness) -> None:
    harness.file.unlink()
    assert reload_settings(harness.context) == ()
    assert harness.context.settings.queue_max_pending == 5


def test_only_what_is_read_anew_each_time_may_change() -> None:
    assert {
        "access_log",
        "access_log_every",
        "bin_days",
        "cleanup_interval_seconds",
        "disk_floor_bytes",
        "embed_metadata",
        "facade_cancel_on_disconnect",
        "log_level",
        "log_prompts",
        "mark_ai_generated",
        "memory_alert_percent",
        "merge_jobs",
        "model_idle_seconds",
        "max_batch_jobs",
        "prompt_max_chars",
        "queue_max_pending",
        "absent_workers_seconds",
        "rate_limit_generate",
        "rate_limit_read",
        "remote_price",
        "retention_days",
        "retention_max_bytes",
        "retention_max_images",
        "service_worker",
        "spend_limit_amount",
        "spend_limit_predictions",
        "suspicious_input",
        "suspicious_patterns",
        "webhook_max_attempts",
    } == LIVE_SETTINGS

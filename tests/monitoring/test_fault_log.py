"""One line per fault, interval and process, with a count of what was left out."""

from __future__ import annotations

import logging

import pytest

from app.monitoring.fault_log import INTERVAL_SECONDS, FaultLog

log = logging.getLogger("cyberimage.test")


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def faults(now: list[float], caplog: pytest.LogCaptureFixture) -> FaultLog:
    caplog.set_level(logging.INFO, "cyberimage")
    return FaultLog("The database answers again", clock=lambda: now[0])


def test_one_line_per_interval_with_a_count(faults: FaultLog, now: list[float], caplog) -> None:
    for _ in range(551):
        faults.add(log, logging.ERROR, "No answer: %s", "refused")
    assert [record.getMessage() for record in caplog.records] == ["No answer: refused"]
    now[0] += INTERVAL_SECONDS
    faults.add(log, logging.ERROR, "No answer: %s", "refused")
    assert caplog.messages[1:] == ["No answer: refused (550 messages like this were left out)"]


def test_the_end_is_logged_once_with_the_count(faults: FaultLog, now: list[float], caplog) -> None:
    faults.ended(log)
    assert caplog.records == []
    for _ in range(3):
        faults.add(log, logging.ERROR, "No answer")
    faults.ended(log)
    assert len(caplog.records) == 1, "it may come and go"
    now[0] += INTERVAL_SECONDS
    faults.ended(log)
    faults.ended(log)
    assert caplog.messages[1:] == ["The database answers again (2 messages like this were left out)"]
    faults.add(log, logging.ERROR, "No answer")
    assert len(caplog.records) == 3, "a new fault is logged at once"


def test_a_percent_sign_in_the_message_is_no_placeholder(faults: FaultLog, caplog) -> None:
    faults.add(log, logging.ERROR, "100 % full")
    assert caplog.messages == ["100 % full"]

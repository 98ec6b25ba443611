"""The last messages of connections: made elsewhere, bounded while they are unsent, never lost silently."""

from __future__ import annotations

import logging
import threading

import pytest

from app.api.server import last_messages
from app.api.server.last_messages import LastMessages
from app.errors import JobNotFound, Unavailable
from tests.waiting import wait_until


@pytest.fixture
def messages():
    made = LastMessages(lambda: None)
    yield made
    made.close()


def finished(messages: LastMessages, count: int) -> list:
    wait_until(lambda: len(messages.finished) == count, "they were not made")
    return sorted(messages.finished)


def test_it_is_made_of_the_error_that_ends_the_connection(messages):
    messages.make("a", lambda error: repr(error).encode(), None)
    messages.make("b", lambda error: error.code.encode(), JobNotFound())
    assert finished(messages, 2) == [("a", b"None", 0), ("b", b"job_not_found", 0)]


def test_one_that_cannot_be_made_is_logged_and_ends_the_connection_all_the_same(messages, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    messages.make("a", lambda error: 1 // 0, None)
    assert finished(messages, 1) == [("a", None, 0)]
    assert "ZeroDivisionError" in caplog.text


def test_what_nobody_reads_is_bounded(monkeypatch):
    """Past the bound a short refusal takes the place of the pictures."""
    monkeypatch.setattr(last_messages, "MAX_UNSENT_BYTES", 100_000)
    monkeypatch.setattr(last_messages, "UNSENT_TIMEOUT_SECONDS", 0.05)
    messages: LastMessages[str] = LastMessages(lambda: None)

    def message(error) -> bytes:
        return b"x" * 90_000 if error is None else error.code.encode()

    messages.make("a", message, None)
    assert finished(messages, 1) == [("a", b"x" * 90_000, 90_000)]
    messages.make("b", message, None)
    assert finished(messages, 2)[1] == ("b", Unavailable.code.encode(), 0)
    messages.release(90_000)
    messages.make("c", message, None)
    assert finished(messages, 3)[2] == ("c", b"x" * 90_000, 90_000)
    messages.close()


def test_a_slow_one_holds_up_no_other(messages):
    go = threading.Event()
    messages.make("slow", lambda error: b"late" if go.wait(60) else b"never", None)
    messages.make("quick", lambda error: b"now", None)
    assert finished(messages, 1) == [("quick", b"now", 0)]
    go.set()
    assert ("slow", b"late", 0) in finished(messages, 2)

"""The last messages of connections: made elsewhere, in turns, bounded while they are unsent, never lost silently."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from app.api.server import last_messages
from app.api.server.last_messages import LastMessage, LastMessages
from app.errors import JobNotFound, Unavailable
from tests.waiting import PATIENCE, wait_until

LARGE = 90_000


@pytest.fixture
def messages():
    made: LastMessages[str] = LastMessages(lambda: None)
    yield made
    made.close()


@pytest.fixture
def bounds(monkeypatch) -> None:
    """Room for two large messages of a client, and for four of all together."""
    monkeypatch.setattr(last_messages, "CLIENT_UNSENT_BYTES", 2 * LARGE)
    monkeypatch.setattr(last_messages, "MAX_UNSENT_BYTES", 4 * LARGE)


def finished(messages: LastMessages, count: int) -> list:
    wait_until(lambda: len(messages.finished) == count, "they were not made, or more", patience=30)
    return sorted(messages.finished)


def names(messages: LastMessages) -> list[str]:
    return [of for of, _, _ in messages.finished]


def large(error) -> bytes:
    return b"x" * LARGE if error is None else error.code.encode()


def held_up(messages: LastMessages, client: str, count: int) -> tuple[threading.Event, Callable[[], int]]:
    """Have `count` messages of `client` made until the event is set; and how many are being made."""
    go, begun = threading.Event(), []

    def slow(_) -> bytes:
        begun.append(1)
        return b"late" if go.wait(PATIENCE) else b"never"

    for number in range(count):
        messages.make(f"{client}{number}", client, slow, None)
    return go, lambda: len(begun)


def test_it_is_made_of_the_error_that_ends_the_connection(messages):
    messages.make("a", "one", lambda error: repr(error).encode(), None)
    messages.make("b", "one", lambda error: error.code.encode(), JobNotFound())
    assert finished(messages, 2) == [("a", b"None", 0), ("b", b"job_not_found", 0)]


def test_one_that_cannot_be_made_is_logged_and_ends_the_connection_all_the_same(messages, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    messages.make("a", "one", lambda error: 1 // 0, None)
    assert finished(messages, 1) == [("a", None, 0)]
    assert "ZeroDivisionError" in caplog.text


def test_clients_take_turns(messages):
    """One that waits for many does not hold up one that waits for one: a thread is left, and then it is its turn."""
    go, being_made = held_up(messages, "busy", 20)
    wait_until(lambda: being_made() == 3, "they were not begun")
    quick: LastMessage = lambda error: b"now"  # noqa: E731
    messages.make("quick", "other", quick, None)
    assert finished(messages, 1) == [("quick", b"now", 0)]
    more, other_being_made = held_up(messages, "second", 20)
    wait_until(lambda: other_being_made() == 1, "the last thread was not used")
    messages.make("third", "third", quick, None)
    more.set()
    wait_until(lambda: "third" in names(messages), "it had no turn")
    assert being_made() == 3
    assert names(messages).index("third") <= 3  # after "quick", the one that was begun, and one in turn
    go.set()
    assert len(finished(messages, 42)) == 42


def test_what_a_client_does_not_read_holds_up_its_own_alone(messages, bounds):
    for number in range(3):
        messages.make(f"slow {number}", "slow", large, None)
        if number < 2:
            assert len(finished(messages, number + 1)) == number + 1
    for number in range(2):
        messages.make(f"other {number}", f"other {number}", large, None)
    wait_until(lambda: {"other 0", "other 1"} <= set(names(messages)), "others were held up")
    assert "slow 2" not in names(messages)
    messages.release("slow", LARGE)
    messages.release("other 0", LARGE)
    wait_until(lambda: "slow 2" in names(messages), "it was not made when there was room")
    assert all(made == b"x" * LARGE for _, made, _ in messages.finished)


def test_past_the_time_a_short_refusal_takes_the_place_of_the_pictures(messages, bounds, monkeypatch):
    for number in range(2):
        messages.make(f"slow {number}", "slow", large, None)
        finished(messages, number + 1)
    messages.make("slow 2", "slow", large, None)
    messages.expire()  # begins to count
    messages.expire()
    assert len(messages.finished) == 2
    monkeypatch.setattr(last_messages, "UNSENT_TIMEOUT_SECONDS", 0.0)
    messages.expire()
    assert finished(messages, 3)[2] == ("slow 2", Unavailable.code.encode(), 0)


def test_reading_gives_time(messages, bounds, monkeypatch):
    for number in range(3):
        messages.make(f"slow {number}", "slow", large, None)
        if number < 2:
            finished(messages, number + 1)
    messages.make("more", "slow", large, None)
    messages.expire()
    messages.release("slow", LARGE)  # "slow 2" takes its place
    finished(messages, 3)
    monkeypatch.setattr(last_messages, "UNSENT_TIMEOUT_SECONDS", 0.0)
    messages.expire()  # counts anew
    assert len(messages.finished) == 3
    messages.expire()
    assert finished(messages, 4)[0] == ("more", Unavailable.code.encode(), 0)


def test_all_together_are_bounded_with_room_for_first_messages(messages, bounds):
    for number, client in enumerate(("one", "one", "two")):
        messages.make(f"{number}", client, large, None)
        finished(messages, number + 1)
    messages.make("second", "two", large, None)
    messages.make("first", "three", large, None)
    assert finished(messages, 4)[3] == ("first", b"x" * LARGE, LARGE)
    messages.make("fifth", "four", large, None)
    assert len(messages.finished) == 4
    messages.release("one", LARGE)
    wait_until(lambda: "fifth" in names(messages), "the first of a client goes before the second of another")
    assert "second" not in names(messages)


def test_clients_that_have_nothing_are_forgotten(messages, bounds):
    for number in range(50):
        messages.make("x", f"client {number}", lambda error: b"small", None)
    finished(messages, 50)
    messages.make("large", "one", large, None)
    finished(messages, 51)
    assert list(messages._clients) == ["one"]
    messages.release("one", LARGE)
    assert not messages._clients

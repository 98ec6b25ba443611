"""The end of all streams: a client that reads nothing holds up no other."""

from __future__ import annotations

import socket
import threading

import pytest

from app.api.server import event_streams
from app.api.server.deferred_response import SilentEncoder
from app.api.server.event_streams import EventStreamHub
from app.api.server.stream_listener import StreamListener
from app.services.jobs.notifications import JobNotifier
from tests.waiting import wait_until

LARGE = b"x" * 8_000_000  # more than sockets hold


@pytest.fixture
def hub(context, monkeypatch):
    monkeypatch.setattr(event_streams, "STOP_SECONDS", 30.0)
    notifier, draining = JobNotifier(context), threading.Event()
    hub = EventStreamHub(context, notifier, draining, 10)
    hub.stop = draining.set  # type: ignore[attr-defined]
    yield hub
    draining.set()
    hub.join(30)


def attach(hub: EventStreamHub, job_id: str, message: bytes, client: str) -> socket.socket:
    """The client's end of a connection that waits for a job."""
    ours, theirs = socket.socketpair()
    hub.reserve()
    listener = StreamListener(job_id, SilentEncoder(), client=client, last_message=lambda error: message)
    listener.mark_handed_over()
    hub.attach(listener, ours, chunked=False)
    return theirs


def test_a_call_behind_streams_that_are_not_read_is_answered_when_the_server_stops(hub, submit, worker):
    done, waiting = submit("a"), submit("b")
    unread = [attach(hub, done, LARGE, f"slow {number}") for number in range(3)]
    worker.finish()
    for one in unread:
        one.settimeout(30)
        assert one.recv(10)  # it is being sent
    reader = attach(hub, waiting, b"PENDING", "quick")
    reader.settimeout(10)
    hub.stop()
    hub.interrupt_select()
    assert reader.recv(100) == b"PENDING"
    assert reader.recv(100) == b""
    assert hub.open_streams >= 3  # the others were not given up for it
    for one in unread:
        one.close()
    hub.join(30)
    wait_until(lambda: hub.open_streams == 0, "they were not ended")


def test_one_that_comes_after_the_end_is_answered_too(hub, submit):
    job_id = submit()
    attach(hub, job_id, b"first", "a").close()
    hub.stop()
    hub.join(30)
    late, ours = socket.socketpair()
    hub._reserved += 1
    hub.attach(StreamListener(job_id, SilentEncoder(), last_message=lambda error: b"PENDING"), ours, chunked=False)
    late.settimeout(10)
    assert late.recv(100) == b"PENDING"

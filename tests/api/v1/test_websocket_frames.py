"""Where the messages of a client end, whatever pieces its frames come in."""

from __future__ import annotations

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from app.api.server.websocket_socket import FrameReader

BEGIN, MORE, LAST = (TextMessage("a" * size, message_finished=last) for size, last in ((9, 0), (0, 0), (70_000, 1)))


def sent(*events) -> bytes:
    """As a client sends it."""
    client = Connection(ConnectionType.CLIENT)
    return b"".join(map(client.send, events))


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("events", "has_message", "has_close"),
    [
        ([BEGIN, Ping(b"x"), MORE], False, False),
        ([BEGIN, Ping(b"x"), MORE, LAST], True, False),
        ([TextMessage("")], True, False),
        ([BytesMessage(b"x" * 125)], True, False),
        ([BytesMessage(b"x" * 126)], True, False),
        ([BytesMessage(b"x" * 65_536)], True, False),
        ([Ping(b"")], False, False),
        ([BEGIN, CloseConnection(1000, "enough")], True, True),
    ],
)
def test_where_messages_end(events, has_message, has_close, piece):
    frames, data = FrameReader(), sent(*events)
    for at in range(0, len(data), piece):
        assert not frames.has_message or has_close
        frames.feed(data[at : at + piece])
    assert (frames.has_message, frames.has_close) == (has_message, has_close)


def test_no_message_before_its_last_byte():
    frames, data = FrameReader(), sent(BEGIN, MORE, LAST)
    frames.feed(data[:-1])
    assert not frames.has_message

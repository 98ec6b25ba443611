"""When a connection is ready for a thread: the request is whole, too large, or there will be no more of it."""

from __future__ import annotations

import io
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from app.server import client_socket
from app.server.client_socket import ClientSocket, Slots
from tests.waiting import wait_until


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The server's end of a TCP connection, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    server = ClientSocket(fileno=accepted.detach())
    server.setblocking(False)
    yield server, client
    server.close()
    client.close()


def is_readable(server: ClientSocket) -> bool:
    poll = select.poll()  # `select` refuses descriptors above 1023, which a long run of tests reaches
    poll.register(server, select.POLLIN)
    return bool(poll.poll(200))


def test_half_a_head_is_quiet_until_there_is_more(pair) -> None:
    server, client = pair
    assert not server.is_request_ready()
    client.sendall(b"GET / HTTP/1.1\r\n")
    assert is_readable(server)
    assert not server.is_request_ready()
    assert not is_readable(server)  # or the poller would spin
    client.sendall(b"Host: x\r\n\r\n")
    assert is_readable(server)
    assert server.is_request_ready()
    server.setblocking(True)
    assert server.recv(100) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_client_that_closes_with_half_a_head_is_not_waited_for(pair) -> None:
    server, client = pair
    client.sendall(b"GET / HT")
    assert is_readable(server)
    assert not server.is_request_ready()
    client.shutdown(socket.SHUT_WR)
    wait_until(server.is_request_ready, "it waits for what cannot come")


def test_a_client_that_resets_is_not_waited_for(pair) -> None:
    server, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    wait_until(server.is_request_ready, "it waits for what cannot come")


def test_a_head_too_large_is_left_to_who_refuses_it(pair) -> None:
    server, client = pair
    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * client_socket.MAX_BUFFERED_BYTES)
    wait_until(server.is_request_ready, "it is collected without end")


def test_a_small_body_is_collected_too(pair) -> None:
    server, client = pair
    client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n1234")
    assert is_readable(server)
    assert not server.is_request_ready()
    assert not is_readable(server)
    client.sendall(b"5")
    wait_until(server.is_request_ready, "it waits for more than there is")


@pytest.mark.parametrize(
    ("request_", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", True),
        (b"GET / HTTP/1.1\n\n", True),  # refused by who reads it
        (b"POST / HTTP/1.1\r\ncontent-length:4\r\n\r\nabc", False),
        (b"POST / HTTP/1.1\r\ncontent-length:3\r\n\r\nabc", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", True),  # refused
        (b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\nabc", True),  # too large to be collected
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", True),  # only a parser finds its end
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00;x\r\nA: b\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
    ],
)
def test_what_is_whole(pair, request_: bytes, whole: bool) -> None:
    server, client = pair
    client.sendall(request_)
    assert is_readable(server)
    assert server.is_request_ready() == whole


def test_a_body_has_to_keep_coming(pair, monkeypatch) -> None:
    server, client = pair
    monkeypatch.setattr(client_socket, "BODY_TIMEOUT_SECONDS", 0.3)
    server.setblocking(True)
    client.sendall(b"POST / HTTP/1.1\r\n\r\n")
    assert server.recv(100)
    with pytest.raises(ConnectionResetError, match="too slow"):
        server.recv(100)
    server.disable_timeouts()
    assert server.gettimeout() is None


def test_there_is_a_limit_to_who_is_waited_for(pair) -> None:
    server, client = pair
    server.slots = Slots(1, share=1)
    server.setblocking(True)
    client.sendall(b"POST / HTTP/1.1\r\n\r\n")
    assert server.slots.acquire("192.0.2.1")  # of another connection
    assert server.recv(100)
    with pytest.raises(ConnectionResetError, match="too many"):
        server.recv(100)
    with pytest.raises(ConnectionResetError, match="too many"):
        server.sendall(bytes(100_000_000))


def test_the_reader_of_a_file_is_waited_for_like_any_other(pair) -> None:
    server, _ = pair
    server.slots = Slots(1, share=1)
    assert server.slots.acquire("192.0.2.1")
    server.setblocking(True)
    with pytest.raises(ConnectionResetError, match="too many"):
        server.sendfile(io.BytesIO(bytes(100_000_000)))


def test_a_file_is_sent_whole_and_in_parts(pair) -> None:
    server, client = pair
    server.setblocking(True)
    content = bytes(range(256)) * 100
    assert server.sendfile(io.BytesIO(content)) == len(content)
    assert server.sendfile(io.BytesIO(content), 10, 100) == 100
    assert client.recv(len(content) + 100, socket.MSG_WAITALL) == content + content[10:110]


def test_a_reader_that_takes_a_little_now_and_then_is_left_in_time(pair, monkeypatch) -> None:
    """A deadline for the whole answer, not one that each byte puts off."""
    server, client = pair
    server.slots = Slots(1, share=1)
    monkeypatch.setattr(client_socket, "RESPONSE_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(client_socket, "MIN_BYTES_PER_SECOND", 10**12)
    server.setblocking(True)
    done = threading.Event()

    def read_a_little() -> None:
        while not done.wait(0.05):
            client.recv(100)

    reader = threading.Thread(target=read_a_little, daemon=True)
    reader.start()
    with pytest.raises(ConnectionResetError, match="too slow"):
        server.sendall(bytes(100_000_000))
    done.set()
    reader.join()


def test_one_address_gets_its_share_of_the_slots() -> None:
    slots = Slots(4, share=2)
    assert [slots.acquire("a") for _ in range(3)] == [True, True, False]
    assert [slots.acquire(other) for other in ("b", "c", "d")] == [True, True, False]
    slots.release("a")
    assert slots.acquire("a")
    slots = Slots(4, share=2)
    assert [slots.acquire("") for _ in range(5)] == [True] * 4 + [False]  # behind a Unix socket are many


def test_nothing_is_waited_for_once_the_request_has_ended(pair) -> None:
    server, client = pair
    server.setblocking(True)
    server.send_continue_before_body()
    server.end_request()
    with pytest.raises(TimeoutError):
        server.recv(100)
    server.setblocking(False)
    server.close()
    assert client.recv(100) == b""  # and it was not asked for

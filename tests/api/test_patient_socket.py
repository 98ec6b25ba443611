"""When a connection is ready for a thread: the head is whole, or there will be no more of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from app import server_process
from app.server_process import PatientSocket
from tests.waiting import wait_until


@pytest.fixture
def pair() -> Iterator[tuple[PatientSocket, socket.socket]]:
    """The server's end of a TCP connection, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    server = PatientSocket(fileno=accepted.detach())
    server.setblocking(False)
    yield server, client
    server.close()
    client.close()


def is_readable(server: PatientSocket) -> bool:
    return bool(select.select([server], [], [], 0.2)[0])


def test_half_a_head_is_quiet_until_there_is_more(pair) -> None:
    server, client = pair
    assert not server.has_whole_head()
    client.sendall(b"GET / HTTP/1.1\r\n")
    assert is_readable(server)
    assert not server.has_whole_head()
    assert not is_readable(server)  # or the poller would spin
    client.sendall(b"Host: x\r\n\r\n")
    assert is_readable(server)
    assert server.has_whole_head()
    server.setblocking(True)
    assert server.recv(100) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_client_that_closes_with_half_a_head_is_not_waited_for(pair) -> None:
    server, client = pair
    client.sendall(b"GET / HT")
    assert is_readable(server)
    assert not server.has_whole_head()
    client.shutdown(socket.SHUT_WR)
    wait_until(server.has_whole_head, "it waits for what cannot come")


def test_a_client_that_resets_is_not_waited_for(pair) -> None:
    server, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    wait_until(server.has_whole_head, "it waits for what cannot come")


def test_a_head_too_large_is_left_to_who_refuses_it(pair) -> None:
    server, client = pair
    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * server_process.LARGEST_HEAD)
    wait_until(server.has_whole_head, "it is collected without end")


def test_a_body_has_to_keep_coming(pair, monkeypatch) -> None:
    server, client = pair
    monkeypatch.setattr(server_process, "BODY_PATIENCE_SECONDS", 0.3)
    server.setblocking(True)
    client.sendall(b"POST / HTTP/1.1\r\n\r\n")
    assert server.recv(100)
    with pytest.raises(ConnectionResetError, match="too slow"):
        server.recv(100)
    server.wait_for_ever()
    assert server.gettimeout() is None

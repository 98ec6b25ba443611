"""HTTP to addresses that strangers chose: webhook receivers, pictures by URL.

A name is resolved once, every address of the answer is checked, and the connection goes to one of those very
addresses, so that a name cannot answer differently between the check and the connection. The check sits below the
HTTP client: a redirect that a caller follows is checked like the first request. `Host`, TLS server name and certificate
check keep the name.

This module knows nothing of webhooks.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from app.core.addresses import is_public

LONGEST_HOST, LONGEST_LABEL = 253, 63  # of DNS


class AddressRefused(httpx.TransportError):
    """The host is not on the public internet, and only that may be connected to."""


def guarded_client(
    *,
    allow_private: bool,
    total_seconds: float,
    ssl_context: ssl.SSLContext | None = None,
    connections: int = 10,
) -> httpx.Client:
    """A client whose every connection is checked and ends after `total_seconds`, however slowly the other side drips;
    at most `connections` at a time.

    It follows no redirects unless told, and takes no proxy or password from the environment. Read bodies with
    `iter_raw` and a bound: nothing here limits them, and `read` also decompresses.
    """
    context = ssl_context or httpx.create_ssl_context()
    transport = GuardedTransport(allow_private, total_seconds, context, connections)
    return httpx.Client(transport=transport, timeout=total_seconds, follow_redirects=False, trust_env=False)


def url_problem(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with `url` as the address of a web server, as far as can be told without asking DNS."""
    try:
        parsed = httpx.URL(url)
        urlsplit(url)  # which others read it with, and which refuses other things
        host = parsed.host  # decodes IDNA
    except (httpx.InvalidURL, ValueError):  # ValueError: bad IDNA, or half a character
        return "is not a URL"
    if parsed.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if not host or "%" in host or not _is_host(parsed.raw_host):
        return "has no valid host"
    if parsed.userinfo:
        return "must not hold a user name or password"
    if parsed.port is not None and not 0 < parsed.port < 65536:
        return "has no valid port"
    if not allow_private and not _may_be_public(host):
        return "leads to a private address, which this server does not call"
    return None


def _is_host(host: bytes) -> bool:
    """An address, or a name as long as DNS allows, of labels as long as DNS allows."""
    labels = host.removesuffix(b".").split(b".")
    return b":" in host or (len(host) <= LONGEST_HOST and all(0 < len(label) <= LONGEST_LABEL for label in labels))


def _may_be_public(host: str) -> bool:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        # Also the spellings that only the system's resolver takes for addresses, such as 2130706433 or 0x7f.1.
        addresses = resolve(host, 0, flags=socket.AI_NUMERICHOST)
    except OSError:
        return True  # a name: judged when it is connected to
    return all(is_public(address) for address in addresses)


def resolve(host: str, port: int, *, flags: int = 0) -> list[str]:
    """The addresses of `host`, in the order to try them. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # a label longer than DNS allows
        raise socket.gaierror(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.BaseTransport):
    """What httpx.HTTPTransport is, over a network that checks addresses. One connection per request."""

    def __init__(
        self, allow_private: bool, total_seconds: float, ssl_context: ssl.SSLContext, connections: int = 10
    ) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=connections,
            max_keepalive_connections=0,  # each connection's time is one request's
            network_backend=_GuardedNetwork(allow_private, total_seconds),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _as_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _GuardedNetwork(httpcore.NetworkBackend):
    def __init__(self, allow_private: bool, total_seconds: float) -> None:
        self._allow_private = allow_private
        self._total_seconds = total_seconds
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        deadline = time.monotonic() + self._total_seconds
        last_error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._addresses(host, port):
            try:
                stream = self._network.connect_tcp(
                    address, port, _left(deadline, httpcore.ConnectTimeout), local_address, socket_options
                )
                return _TimedStream(stream, deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        # One private address condemns the whole answer: a name of the public internet has none.
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise AddressRefused(f"{host} leads to a private address")
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection that times out at `deadline`, and not only when a single read or write takes long."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, error: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("it took too long")
    return left


@contextmanager
def _as_httpx() -> Iterator[None]:
    """httpcore's errors as the ones of the same name that users of httpx expect."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error) or type(error).__name__) from error

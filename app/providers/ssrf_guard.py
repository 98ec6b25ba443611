"""SSRF guard: HTTP client for addresses chosen by clients, such as webhook receivers and picture URLs.

A name is resolved once, all addresses of the answer are checked, and the connection is made to one of these addresses,
so that a name cannot resolve differently between the check and the connection. The check is below the HTTP client, so
redirects are checked like the first request. `Host`, TLS server name and certificate check keep the name.


Independent of webhooks.
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
    """The host is not on the public internet, and only public hosts are allowed."""


def guarded_client(
    *,
    allow_private: bool,
    total_seconds: float,
    idle_seconds: float | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connections: int = 10,
) -> httpx.Client:
    """A client that checks each connection and ends it after `total_seconds`, however slow the other side is, or after
    `idle_seconds` without a byte (None: `total_seconds`); at most `connections` at a time.

    It follows no redirects by default, and uses no proxy or password from the environment. Read bodies with `iter_raw`
    and a limit: the client does not limit them, and `read` also decompresses.
    """
    context = ssl_context or httpx.create_ssl_context()
    transport = GuardedTransport(allow_private, total_seconds, context, connections)
    return httpx.Client(
        transport=transport, timeout=idle_seconds or total_seconds, follow_redirects=False, trust_env=False
    )


def url_problem(url: str, *, allow_private: bool) -> str | None:
    """Why `url` is not allowed as a web server's address, as far as can be checked without DNS; None if it is."""
    try:
        parsed = httpx.URL(url)
        urlsplit(url)  # the parser of other libraries, which refuses other things
        host = parsed.host  # decodes IDNA
    except (httpx.InvalidURL, ValueError):  # ValueError: bad IDNA, or a lone surrogate
        return "is not a URL"
    if parsed.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if not host or "%" in host or not _is_host(parsed.raw_host):
        return "has no valid host"
    if parsed.userinfo:
        return "must not contain a user name or password"
    if parsed.port is not None and not 0 < parsed.port < 65536:
        return "has no valid port"
    if not allow_private and not _may_be_public(host):
        return "leads to a private address, which is not allowed"
    return None


def _is_host(host: bytes) -> bool:
    """True for an address, or a name whose length and labels are within DNS limits."""
    labels = host.removesuffix(b".").split(b".")
    return b":" in host or (len(host) <= LONGEST_HOST and all(0 < len(label) <= LONGEST_LABEL for label in labels))


def _may_be_public(host: str) -> bool:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        # Includes notations that only the system's resolver accepts as addresses, such as 2130706433 or 0x7f.1.
        addresses = resolve(host, 0, flags=socket.AI_NUMERICHOST)
    except OSError:
        return True  # a name: checked when connecting
    return all(is_public(address) for address in addresses)


def resolve(host: str, port: int, *, flags: int = 0) -> list[str]:
    """The addresses of `host`, in the order to try them. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # a label longer than DNS allows
        raise socket.gaierror(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.BaseTransport):
    """httpx.HTTPTransport on a network backend that checks addresses. One connection per request."""

    def __init__(
        self, allow_private: bool, total_seconds: float, ssl_context: ssl.SSLContext, connections: int = 10
    ) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=connections,
            max_keepalive_connections=0,  # the time limit of a connection is for one request
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
        connect_until = deadline if timeout is None else min(deadline, time.monotonic() + timeout)
        last_error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._addresses(host, port):
            try:
                stream = self._network.connect_tcp(
                    address, port, _left(connect_until, httpcore.ConnectTimeout), local_address, socket_options
                )
                return _TimedStream(stream, deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error

    def _addresses(self, host: str, port: int) -> list[str]:
        # With private addresses refused, the same words for a name that does not exist: which names the network of the
        # server has is not for clients.
        hidden = f"{host} leads to no address, or to a private address"
        try:
            addresses = resolve(host, port)
        except OSError as error:
            words = f"{host} cannot be resolved: {error}" if self._allow_private else hidden
            raise httpcore.ConnectError(words) from error
        # One private address refuses the whole answer: public names have none.
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise AddressRefused(hidden)
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection that times out at `deadline`, and when a single read or write takes longer than its `timeout`."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout, timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, error: type[httpcore.TimeoutException], most: float | None = None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time limit was exceeded")
    return left if most is None else min(left, most)


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpcore's errors as the httpx errors of the same name."""
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

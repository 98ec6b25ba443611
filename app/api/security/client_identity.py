"""The client of a request: its identity for ownership, its id for fairness, idempotency keys and rate limits."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flask import Flask, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app.core.access import Identity
from app.core.addresses import network_of_client
from app.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BUCKETS = 65_536  # limits in memory: two clients share one with a chance of 1 in this many


def trust_proxies(app: Flask, count: int) -> None:
    """Take the client's address and scheme from the last `count` proxies' headers, and the path that is served under
    from the last one's; with 0 none is trusted."""
    if count:
        fixed = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0, x_prefix=1)

        def behind_proxies(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            schemes = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")
            if [scheme.strip().lower() for scheme in schemes][-count:][:1] not in (["http"], ["https"]):
                environ.pop("HTTP_X_FORWARDED_PROTO", None)  # it would become part of redirects
            return fixed(environ, start_response)

        app.wsgi_app = behind_proxies  # type: ignore[method-assign]


def identity() -> Identity:
    """The identity that the authorization found for the current request. Raises Unauthorized without one."""
    found: Identity | None = g.get("identity")
    if found is None:
        raise Unauthorized("Sign in first.")
    return found


def client_id() -> str:
    """The id of the identity if there is one, else of the address."""
    known: Identity | None = g.get("identity")
    return address_id() if known is None else known.client_id


def check_priority(priority: int) -> None:
    """Raises Forbidden for a priority above 0 that is not an administrator's."""
    if priority > 0 and not identity().is_admin:
        raise Forbidden("Only an administrator may put a job before those of others. Leave `priority` at 0 or below.")


def address_id() -> str:
    """Never longer than an address, whatever a proxy passed on."""
    address = request.remote_addr or "local"
    try:
        return f"ip:{ip_address(address)}" if address != "local" else "ip:local"
    except ValueError:
        return "ip:unknown"


def limit_key(*, by_address: bool) -> Callable[[], str]:
    """The name of the budget that the current request is counted on.

    In the memory of the process there are only so many, picked by a salted hash: from however many addresses
    requests come, memory stays bounded. With `by_address` they are as many as clients.
    """
    if by_address:
        return lambda: network_of_client(client_id())
    bucket = bucketing()
    return lambda: bucket(client_id())


def bucketing(salt: bytes | None = None) -> Callable[[str], str]:
    """Sorts clients into BUCKETS by a hash with `salt`, at most 64 bytes; without one of its own."""
    salt = secrets.token_bytes(16) if salt is None else salt

    def bucket(client: str) -> str:
        digest = hashlib.blake2b(network_of_client(client).encode(), key=salt, digest_size=4).digest()
        return str(int.from_bytes(digest, "big") % BUCKETS)

    return bucket

"""Host and Origin checks, against foreign pages that use their visitor's browser.

*Origin*: browsers name the origin of a request; one that changes something is refused unless it comes from our own
page, from CORS_ORIGINS, or from no browser at all. *Host*: a foreign page that points its own name at this machine (DNS
rebinding) could otherwise read everything; the Host header then has that foreign name.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

from app.config import Settings
from app.errors import ForeignOrigin, UntrustedHost

SAFE = frozenset({"GET", "HEAD"})


class OwnOrigin:
    def __init__(self, settings: Settings) -> None:
        self._others = frozenset(settings.cors_origin_list)

    def check(self, *, by_cookie: bool) -> None:
        """Raises ForeignOrigin. With `by_cookie`, which browsers attach by themselves, only our own page may."""
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"  # a GET that no CORS rule guards
        if request.method in SAFE and not is_socket:
            return
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site == "same-origin" or (site is None and origin is not None and _is_ours(origin)):
            return
        if not by_cookie and (self._allows(origin) or (origin is None and site in (None, "none"))):
            return
        raise ForeignOrigin(
            "The request comes from another site. Allow it in CORS_ORIGINS, or send a token; a session's cookie is good"
            " for this server's own page only."
        )

    def _allows(self, origin: str | None) -> bool:
        return origin is not None and bool({"*", origin.lower()} & self._others)


def _is_ours(origin: str) -> bool:
    """By host and port alone: behind a proxy the scheme may be another one."""
    try:
        return urlsplit(origin).netloc.lower() == (request.environ.get("HTTP_HOST") or "").lower() != ""
    except ValueError:
        return False


LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]{1,5})?")


class TrustedHosts:
    """Loopback names, HOST and TRUSTED_HOSTS. On a wildcard HOST also what no page of the internet can point here:
    addresses, names without a dot and in .local, which only the network around us resolves, and this machine's own."""

    def __init__(self, settings: Settings) -> None:
        names = settings.trusted_host_names
        self._any = "*" in names
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        public = urlsplit(settings.public_url).hostname  # where providers send their webhooks
        self._names = LOOPBACK | names | {settings.host} | ({public} if public else set())
        self._addresses = settings.host in WILDCARDS
        if self._addresses:
            self._names |= {socket.gethostname().lower()}

    def check(self) -> None:
        """Raises UntrustedHost unless the current request is meant for us. No browser leaves the header out."""
        header = request.environ.get("HTTP_HOST")
        if header is not None and not self.trusts(header):
            raise UntrustedHost(
                "This server does not answer to the name in your request. If it is right, add it to TRUSTED_HOSTS."
            )

    def trusts(self, header: str) -> bool:
        """`header` as sent: a name or address, perhaps with a port."""
        name = host_name(header)
        if name is None:
            return False
        if self._any or name in self._names or name.endswith(self._suffixes):
            return True
        return self._addresses and (_is_address(name) or "." not in name or name.endswith(".local"))


def host_name(header: str) -> str | None:
    """The name in `Host`, in lower case and without the port; None when it is none."""
    found = _HOST.fullmatch(header)
    return None if found is None else (found[1] or found[2]).lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

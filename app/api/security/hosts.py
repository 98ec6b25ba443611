"""Host header check. A foreign page that points its own name at this machine (DNS rebinding) could otherwise read
everything through its visitor's browser; the Host header then has that foreign name.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

from app.config import Settings
from app.errors import UntrustedHost

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
        """Raises UntrustedHost unless the present request is meant for us. No browser leaves the header out."""
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

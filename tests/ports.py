"""Free ports for servers that another process starts later.

Not from the system's ephemeral range: an outgoing connection could take the port before the server binds it. Each test
process allocates from its own range below that.
"""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST = 20_000, 32_000
_SHARE = 1_000

_taken = random.Random(os.getpid()).randrange(FIRST, LAST - _SHARE)


def free_port() -> int:
    """An unused port on loopback, different in each call of this process."""
    global _taken
    for _ in range(_SHARE):
        _taken = _taken + 1 if _taken + 1 < LAST else FIRST
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", _taken))
            except OSError:
                continue
            return _taken
    raise RuntimeError("no port is free")

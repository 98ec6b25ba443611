"""A port for a server that is started a moment later, by another process.

Not one that the system hands out: those it gives to every outgoing connection too, and one of these may have it when
the server wants it. Each test process takes from a share of its own, below the system's.
"""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST = 20_000, 32_000
_SHARE = 1_000

_taken = random.Random(os.getpid()).randrange(FIRST, LAST - _SHARE)


def free_port() -> int:
    """A port on loopback at which nobody listens, and that is not given out again by this process."""
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

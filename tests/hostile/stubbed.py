"""The API with a resolver and a public internet of the test's own: no packet leaves this machine.

Names under `.test` resolve as NAMES says, each answer once and the last one for ever. A connection to PUBLIC
goes to the port in STUB_PUBLIC_PORT on this machine; every other public address refuses.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

PUBLIC = "93.184.215.14"
NAMES: dict[str, list[list[str]]] = {
    "public.test": [[PUBLIC]],
    "inside.test": [["127.0.0.1"]],
    "metadata.test": [["169.254.169.254"]],
    "mixed.test": [[PUBLIC, "10.0.0.7"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    # Public when the URL is looked at, private when it is connected to: DNS rebinding.
    "rebinding.test": [[PUBLIC], ["127.0.0.1"]],
}

_resolve, _connect = socket.getaddrinfo, socket.create_connection


def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name not in NAMES:
        return _resolve(host, port, *args, **kwargs)
    if kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
        raise socket.gaierror("not a number")
    answers = NAMES[name]
    return [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in (answers.pop(0) if len(answers) > 1 else answers[0])
    ]


def connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
    if address[0] == PUBLIC:
        return _connect(("127.0.0.1", int(os.environ["STUB_PUBLIC_PORT"])), *args, **kwargs)
    if not address[0].startswith(("127.", "::")):
        raise ConnectionRefusedError("a test must not leave this machine")
    return _connect(address, *args, **kwargs)


def main() -> int:
    socket.getaddrinfo, socket.create_connection = resolve, connect  # type: ignore[assignment]
    from app.server.gunicorn_app import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())

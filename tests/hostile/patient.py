"""The API with time limits that no test lives to see: whoever holds a thread here holds it for good."""

from __future__ import annotations

import os
import sys

from app.server import client_socket, gunicorn_app


def main() -> int:
    gunicorn_app.KEEPALIVE_SECONDS = 600
    if most := os.environ.get("MOST_CONNECTIONS"):
        gunicorn_app.most_connections = lambda: int(most)
    client_socket.BODY_TIMEOUT_SECONDS = client_socket.RESPONSE_TIMEOUT_SECONDS = 600.0
    return gunicorn_app.main()


if __name__ == "__main__":
    sys.exit(main())

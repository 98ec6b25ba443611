"""The API with time limits longer than any test: an occupied thread stays occupied."""

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

"""Who is asking: the id that fairness, idempotency keys and limits go by."""

from __future__ import annotations

from flask import request


def client_id() -> str:
    return f"ip:{request.remote_addr or 'local'}"

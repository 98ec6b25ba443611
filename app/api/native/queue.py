"""The queue as a whole."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.queue import QueueBody
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.services.ops import stats

api = blueprint("queue", "server")


@api.get(
    "/api/queue",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses({200: QueueBody}),
    description="A user sees their own jobs, and of those of others only how many there are.",
)
def queue() -> QueueBody:
    """Running and waiting jobs, workers, durations"""
    return QueueBody.of(stats.queue(app_context(), owner=identity().scope))

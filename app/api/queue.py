"""The queue as a whole."""

from __future__ import annotations

from typing import Any

from app.api.clients import identity
from app.api.documented import answers, blueprint
from app.api.schemas.queue import QueueBody
from app.api.server import installation
from app.api.shapes import queue_body
from app.services import overview

api = blueprint("queue", "server")


@api.get(
    "/api/queue",
    responses=answers({200: QueueBody}),
    description="A user sees their own jobs, and of those of others only how many there are.",
)
def queue() -> dict[str, Any]:
    """Who is running, who waits, how long things take"""
    return queue_body(overview.queue(installation(), owner=identity().scope))

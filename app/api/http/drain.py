"""New jobs are refused once the installation is to stop; what was accepted can be followed to its end."""

from __future__ import annotations

from app.api.routing import current_budget
from app.api.server.context import api_context
from app.errors import Unavailable


def refuse_new_jobs() -> None:
    """Raises Unavailable for a request that would make a job. To be called after the client was let in."""
    if api_context().stopping.is_set() and current_budget() == "generate":
        raise Unavailable("The server is stopping. Send it again in a moment, or to another.", retry_after=5)

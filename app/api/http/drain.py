"""New jobs are refused once the installation is to stop; what was accepted can be followed to its end."""

from __future__ import annotations

from app.api.routing import current_budget
from app.api.server.context import api_context
from app.errors import Unavailable


def refuse_new_jobs() -> None:
    """Raises Unavailable for a request that would make a job. To be called after the client was let in.

    Not in the first half of DRAIN_SECONDS: so long a proxy may need to see in /readyz that it should send them
    elsewhere. It cannot repeat what was refused, for an error does not say whether a job was made.
    """
    here = api_context()
    if not here.stopping.is_set() or current_budget() != "generate":
        return
    if here.stopping.seconds >= here.context.settings.drain_seconds / 2:
        raise Unavailable("The server is stopping. Send it again in a moment, or to another.", retry_after=5)

"""The worker of remote models: many jobs at a time, each waiting for a provider's machine. It imports no torch."""

from __future__ import annotations

from app.services.installation import Installation
from app.worker.crew import Team
from app.worker.loop import Worker


def remote_worker(installation: Installation) -> Worker:
    """A worker of the remote lane that runs REMOTE_CONCURRENCY jobs at a time."""
    team = Team(max(1, installation.settings.remote_concurrency))
    return Worker(installation, {}, "remote", lane="remote", crew=team)

"""The worker of remote models: many jobs at a time, each waiting for a provider's machine. It imports no torch."""

from __future__ import annotations

from functools import partial

from app.engines.registry import remote_factories
from app.engines.remote import RemoteSettings
from app.engines.replicate.engine import ReplicateEngine
from app.services.context import Installation
from app.services.remote.files import OutputFetcher, open_picture
from app.worker.abandoned_predictions import Strays
from app.worker.executor import Team
from app.worker.loop import Worker
from app.worker.wakeups import Mail


def remote_worker(installation: Installation) -> Worker:
    """A worker of the remote lane that runs REMOTE_CONCURRENCY jobs at a time."""
    team = Team(max(1, installation.settings.remote_concurrency))
    settings = remote_settings(installation)
    worker = Worker(installation, remote_factories(settings), "remote", lane="remote", crew=team)
    worker.accompany(Mail(installation, worker.held))
    if settings.replicate_token:
        worker.accompany(Strays(installation, ReplicateEngine(settings)))
    return worker


def remote_settings(installation: Installation) -> RemoteSettings:
    settings = installation.settings
    return RemoteSettings(
        fetch=OutputFetcher(origin=settings.replicate_base_url, max_bytes=settings.remote_output_max_bytes),
        open_picture=partial(open_picture, installation),
        timeout_seconds=settings.remote_timeout_seconds,
        replicate_base_url=settings.replicate_base_url,
        replicate_token=settings.replicate_api_token.get_secret_value(),
        openai_base_url=settings.openai_base_url,
        openai_key=settings.openai_api_key.get_secret_value(),
        public_url=settings.public_url,
    )

"""The worker of the remote lane: runs jobs of remote models concurrently on threads. Imports no torch."""

from __future__ import annotations

from functools import partial

from app.engines.registry import remote_factories
from app.engines.remote import RemoteSettings
from app.engines.replicate.engine import ReplicateEngine
from app.services.context import AppContext
from app.services.remote.files import OutputFetcher, open_picture
from app.worker.abandoned_predictions import AbandonedPredictions
from app.worker.executor import ThreadedExecutor
from app.worker.loop import Worker
from app.worker.wakeups import JobWakeups


def remote_worker(context: AppContext, suffix: str = "") -> Worker:
    """A worker of the remote lane that runs REMOTE_CONCURRENCY jobs at a time. `suffix` is part of its id."""
    executor = ThreadedExecutor(max(1, context.settings.remote_concurrency))
    settings = remote_settings(context)
    worker = Worker(context, remote_factories(settings), "remote", lane="remote", executor=executor, suffix=suffix)
    worker.add_thread(JobWakeups(context, worker.jobs))
    if settings.replicate_token:
        worker.add_thread(AbandonedPredictions(context, ReplicateEngine(settings)))
    return worker


def remote_settings(context: AppContext) -> RemoteSettings:
    settings = context.settings
    return RemoteSettings(
        fetch=OutputFetcher(
            origin=settings.replicate_base_url,
            max_bytes=settings.remote_output_max_bytes,
            stall_seconds=settings.remote_stall_seconds,
        ),
        files_seconds=settings.remote_files_seconds,
        open_picture=partial(open_picture, context),
        timeout_seconds=settings.remote_timeout_seconds,
        replicate_base_url=settings.replicate_base_url,
        replicate_token=settings.replicate_api_token.get_secret_value(),
        openai_base_url=settings.openai_base_url,
        openai_key=settings.openai_api_key.get_secret_value(),
        engine_server_key=settings.engine_server_key.get_secret_value(),
        public_url=settings.public_url,
    )

"""What one API process holds besides Flask: the installation, the newsroom, and whether it is about to stop."""

from __future__ import annotations

import json
import threading
import time

from flask import current_app
from prometheus_client import CollectorRegistry, ProcessCollector

from app.api.schemas.serializers import job_body
from app.api.server.event_streams import EventStreamHub
from app.core.budget import Budget
from app.monitoring.access_log import RefusalMetrics
from app.monitoring.requests import RequestMetrics
from app.monitoring.resources import Machine
from app.services.context import AppContext
from app.services.jobs.notifications import JobNotifier
from app.services.jobs.status import JobView
from app.services.jobs.status_cache import StatusCache
from app.services.ops.metrics import InstallationMetrics
from app.services.remote.models import RemoteModels
from app.services.remote.webhooks import ReplicateWebhooks

THREADS_KEPT_FREE = 8  # by calls that wait, for everything else
LARGE_BODIES = 2  # of the largest size that may be in memory at a time
BODY_PATIENCE_SECONDS = 10.0  # for others' to be done


class ApiContext:
    """One per application. `draining` is set when the process was told to stop: no new work, streams end."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.status_cache = StatusCache(context, _rendered)
        self.notifier = JobNotifier(context)
        self.draining = threading.Event()
        self.cleaning = threading.Lock()  # held while POST /cleanup works
        self.started_at = time.time()
        self.machine = Machine()
        self.remote_models = RemoteModels(context)
        self.provider_webhooks = ReplicateWebhooks(context, self.remote_models)
        self.registry = CollectorRegistry()
        self.meter = RequestMetrics(self.registry)
        self.refusal_metrics = RefusalMetrics(self.registry)
        self.registry.register(InstallationMetrics(context, self.machine))
        ProcessCollector(registry=self.registry)
        self.stream_hub = EventStreamHub(context, self.notifier, self.draining, context.settings.max_event_streams)
        self.gives_sockets_away = False  # the server that runs this lets event streams leave the request thread
        # A call that waits for its picture holds a request thread: without a bound, a few would lock everybody out.
        self.large_bodies = Budget(
            LARGE_BODIES * (context.settings.max_body_bytes + context.settings.input_body_bytes),
            most_waiting=context.settings.server_threads // 2,
            timeout=BODY_PATIENCE_SECONDS,
        )
        self.streams = threading.BoundedSemaphore(max(1, context.settings.server_threads - THREADS_KEPT_FREE))
        self.refused_streams = threading.BoundedSemaphore(THREADS_KEPT_FREE // 2)  # WebSockets that are just told so


def _rendered(view: JobView) -> bytes:
    return json.dumps(job_body(view), ensure_ascii=False, separators=(",", ":")).encode()


def api_context() -> ApiContext:
    """The server that handles the present request."""
    found: ApiContext = current_app.extensions["cyberimage"]
    return found


def app_context() -> AppContext:
    return api_context().context

"""The state of one API process, besides Flask's: the services, the metrics, and the limits on what it runs at once."""

from __future__ import annotations

import json
import threading
import time

from flask import current_app
from prometheus_client import CollectorRegistry, ProcessCollector

from app.api.server.event_streams import STOP_SECONDS, EventStreamHub
from app.core.budget import Budget
from app.core.job import JobView
from app.monitoring.requests import RefusalMetrics, RequestMetrics
from app.monitoring.resources import Machine
from app.services.context import AppContext
from app.services.job_body import JobBody
from app.services.jobs.notifications import JobNotifier
from app.services.jobs.status_cache import StatusCache
from app.services.ops.metrics import InstallationMetrics
from app.services.remote.models import RemoteModels
from app.services.remote.webhooks import ReplicateWebhooks

RESERVED_THREADS = 8  # that calls which wait may not use
MAX_LARGE_BODIES = 2  # of the largest size, in memory at a time
BODY_SLOT_TIMEOUT_SECONDS = 10.0  # how long a request waits to read a large body


class StopNotice(threading.Event):
    """Set once the installation is to stop; `seconds` says for how long."""

    _since = float("inf")

    def set(self) -> None:
        self._since = min(self._since, time.monotonic())
        super().set()

    @property
    def seconds(self) -> float:
        return max(0.0, time.monotonic() - self._since)


class ApiContext:
    """One per application. `stopping` is set once the installation is to stop: soon new jobs are refused, and all
    else goes on; `draining` when this process is to stop: streams end, too."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.status_cache = StatusCache(context, _rendered)
        self.notifier = JobNotifier(context)
        self.stopping = StopNotice()
        self.draining = threading.Event()
        self.cleaning = threading.Lock()  # held by POST /cleanup
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
        self.hands_over_sockets = False  # true if the server supports HandedOver: see socket_handover.py
        # WebSockets and calls that load models hold a request thread while they wait: without a limit, a few would use
        # up all of them. Calls that wait for a picture hold none, where the server hands sockets over.
        self.large_bodies = Budget(
            MAX_LARGE_BODIES * (context.settings.max_body_bytes + context.settings.input_body_bytes),
            most_waiting=context.settings.server_threads // 2,
            timeout=BODY_SLOT_TIMEOUT_SECONDS,
        )
        self.waiting_slots = threading.BoundedSemaphore(max(1, context.settings.server_threads - RESERVED_THREADS))
        self.refusal_slots = threading.BoundedSemaphore(RESERVED_THREADS // 2)  # WebSockets refused with a message

    def close(self) -> None:
        """End the streams and the threads of an application that will answer no more, and close its database."""
        self.draining.set()
        self.stream_hub.join(STOP_SECONDS)
        self.notifier.close()
        self.context.close()


def _rendered(view: JobView) -> bytes:
    return json.dumps(JobBody.of(view).as_dict(), ensure_ascii=False, separators=(",", ":")).encode()


def api_context() -> ApiContext:
    """The ApiContext of the current request."""
    found: ApiContext = current_app.extensions["cyberimage"]
    return found


def app_context() -> AppContext:
    return api_context().context

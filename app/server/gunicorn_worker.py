"""The process that serves: how many threads it has, how it starts, reloads and stops."""

from __future__ import annotations

import logging
import socket
from typing import Any

from app.api.server.context import ApiContext
from app.server.client_socket import ClientSocket, Slots
from app.server.gunicorn_internals import PollingWorker
from app.server.refusals import refusal
from app.services.ops.reload import reload_settings

STREAMS_GRACE_SECONDS = 6.0  # longer than event_streams.STOP_SECONDS
WEBHOOKS_GRACE_SECONDS = 3.0  # for deliveries under way; the next process repeats those that take longer
DISPATCHER = "webhook-dispatcher"  # the application's extension


class ServerProcess(PollingWorker):
    """Threads that wait for slow clients are limited (ClientSocket.slots), and come on top of SERVER_THREADS."""

    def thread_count(self) -> int:
        return self.request_threads + self._slow_client_threads()

    def _slow_client_threads(self) -> int:
        return max(4, self.request_threads // 2)

    def wrap_socket(self, accepted: socket.socket) -> ClientSocket:
        sock = ClientSocket(fileno=accepted.detach())
        sock.slots = self._slots
        return sock

    def refusal(self, error: Exception, address: Any) -> bytes:
        return refusal(error, address)

    def before_serving(self) -> None:
        total = self._slow_client_threads()
        is_behind_proxies = self._server.context.settings.trusted_proxies > 0  # then an address is not one client
        self._slots = Slots(total, share=total if is_behind_proxies else total // 2)

    def on_announced_stop(self) -> None:
        self._server.stopping.set()

    def on_terminate(self) -> None:
        self._server.stopping.set()
        self._server.draining.set()
        self._server.stream_hub.interrupt_select()

    def after_serving(self) -> None:
        self._server.stream_hub.join(timeout=STREAMS_GRACE_SECONDS)
        self.application.extensions[DISPATCHER].stop(timeout=WEBHOOKS_GRACE_SECONDS)

    def on_reload(self) -> None:
        logging.getLogger("cyberimage.server").info("Reading the settings again")
        reload_settings(self._server.context)

    @property
    def _server(self) -> ApiContext:
        found: ApiContext = self.application.extensions["cyberimage"]
        return found

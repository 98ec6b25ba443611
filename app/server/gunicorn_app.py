"""Runs the API under gunicorn, embedded: one process with many threads serves requests and event streams."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from app import create_app
from app.config import Settings
from app.errors import ConfigurationError, DatabaseDamaged, DatabaseUnavailable
from app.monitoring.logs import configure_logging
from app.process import parent_watch
from app.process.os_limits import allow_many_files, keep_files_private, limit_malloc_arenas, most_connections
from app.server.gunicorn_internals import InPlaceReloadArbiter, StandardLogger, check_version
from app.server.gunicorn_worker import DISPATCHER, ServerProcess
from app.services.configuration import read_configuration
from app.services.context import open_context
from app.services.ops.config_check import unauthenticated_exposure
from app.services.ops.maintenance import Maintenance
from app.services.ops.preflight import require_media_store
from app.services.ops.private_files import protect_files
from app.services.ops.reload import reload_settings
from app.services.webhooks.dispatcher import WebhookDispatcher

EXIT_CONFIGURATION = 2
EXIT_UNAVAILABLE = 69  # sysexits' EX_UNAVAILABLE: the database does not answer
EXIT_DAMAGED = 65  # sysexits' EX_DATAERR: the database is damaged
HEARTBEAT_TIMEOUT_SECONDS = 120  # of the main loop; requests may take longer
SOCKET_UMASK = 0o117  # a Unix socket gets mode 0660
SOCKET_FOLDER_MODE = 0o750
MAX_REQUEST_LINE_BYTES = 8190  # the largest limit that gunicorn supports


class ApiServer(BaseApplication):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        for name, value in {
            "bind": [settings.bind_address],
            "umask": SOCKET_UMASK,
            "workers": 1,
            "worker_class": ServerProcess,
            "threads": settings.server_threads,
            "worker_connections": most_connections(),  # most of them idle, kept alive
            "timeout": HEARTBEAT_TIMEOUT_SECONDS,
            "graceful_timeout": max(1, round(settings.shutdown_grace_seconds)),
            "keepalive": settings.keepalive_seconds,
            "limit_request_line": MAX_REQUEST_LINE_BYTES,
            # Only api/security/client_identity.py decides which forwarded headers to trust. gunicorn would accept the
            # scheme and SCRIPT_NAME, and so another path than the proxy saw, from any client on this machine.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "logger_class": StandardLogger,
            "accesslog": None,
            "control_socket_disable": True,
            "preload_app": False,  # the database must be opened after the fork
            "proc_name": "cyberimage-api",
        }.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        InPlaceReloadArbiter(self).run()

    def load(self) -> Any:
        """Called in the server process, after the fork."""
        app = create_app(self._settings)
        context = app.extensions["cyberimage"].context
        app.extensions["cyberimage"].hands_over_sockets = True
        reload_settings(context)  # a process that replaces another one starts with the settings that were reloaded
        Maintenance(context).start()
        dispatcher = app.extensions[DISPATCHER] = WebhookDispatcher(context)
        dispatcher.start()
        return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; ends the process. Raises ConfigurationError before anything listens."""
    check_version()
    with contextlib.closing(open_context(settings)) as context:  # errors show here, not in a process that is restarted
        require_media_store(context)
    os.environ.pop("SCRIPT_NAME", None)  # gunicorn would serve the application under this path
    allow_many_files()
    limit_malloc_arenas()
    if warning := unauthenticated_exposure(settings):
        logging.getLogger("cyberimage.server").warning(warning)
    if settings.socket_path:
        settings.socket_path.parent.mkdir(mode=SOCKET_FOLDER_MODE, parents=True, exist_ok=True)
    logging.getLogger("cyberimage.server").info("Listening on %s", settings.listens_on)
    ApiServer(settings).run()


def main() -> int:
    """Read the settings and serve. Returns the exit status."""
    keep_files_private()
    parent_watch.watch_parent()
    try:
        settings = read_configuration().settings
        configure_logging(settings, "api")
        protect_files(settings)
        serve(settings)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIGURATION
    except DatabaseUnavailable as error:
        print(error.detail, file=sys.stderr)
        return EXIT_DAMAGED if isinstance(error, DatabaseDamaged) else EXIT_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the API under gunicorn, embedded: one process, many threads, so that event streams and requests live together."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from app import create_app
from app.config import Settings
from app.errors import ConfigurationError, DatabaseUnavailable
from app.monitoring.logs import configure_logging
from app.process import parent_watch
from app.process.os_limits import allow_many_files, keep_files_private, limit_malloc_arenas, most_connections
from app.server.gunicorn_worker import ServerProcess
from app.services.configuration import read_configuration
from app.services.context import open_context
from app.services.ops.config_check import unauthenticated_exposure
from app.services.ops.maintenance import Maintenance
from app.services.ops.private_files import protect_files
from app.services.ops.reload import reload_settings
from app.services.webhooks.dispatcher import WebhookDispatcher

EXIT_CONFIGURATION = 2
EXIT_UNAVAILABLE = 69  # sysexits' EX_UNAVAILABLE: the database does not answer
STUCK_SECONDS = 120  # without a sign of life of the process; requests may take as long as they like
KEEPALIVE_SECONDS = 15
SOCKET_UMASK = 0o117  # a Unix socket is for its owner and group: mode 0660
SOCKET_FOLDER_MODE = 0o750
LONGEST_REQUEST_LINE = 8190  # the most that gunicorn knows how to limit


class ServerLogger(Logger):
    """gunicorn's messages go where ours go, and it opens no log of its own."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log = logging.getLogger("cyberimage.server")
        self.access_log = logging.getLogger("cyberimage.access")

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.error_log.debug(msg, *args, **kwargs)  # "Booting worker with pid": of no use to whoever runs this

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Off."""


class CyberImageArbiter(Arbiter):
    """gunicorn's own answer to SIGHUP is a new process, which would end every event stream. Ours keeps the process."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)


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
            "worker_connections": most_connections(),  # kept alive, mostly idle
            "timeout": STUCK_SECONDS,
            "graceful_timeout": max(1, round(settings.shutdown_grace_seconds)),
            "keepalive": KEEPALIVE_SECONDS,
            "limit_request_line": LONGEST_REQUEST_LINE,
            # Whom to believe is decided in api/security/client_identity.py alone. gunicorn would take the scheme and
            # SCRIPT_NAME, and with it another path than the proxy saw, from anybody on this machine.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "logger_class": ServerLogger,
            "accesslog": None,
            "control_socket_disable": True,
            "preload_app": False,  # the database must be opened after the fork
            "proc_name": "cyberimage-api",
        }.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        CyberImageArbiter(self).run()

    def load(self) -> Any:
        """Called in the server process, after the fork."""
        app = create_app(self._settings)
        context = app.extensions["cyberimage"].context
        app.extensions["cyberimage"].gives_sockets_away = True
        reload_settings(context)  # a process that replaces another one starts with what that had been told
        Maintenance(context).start()
        dispatcher = app.extensions["courier"] = WebhookDispatcher(context)
        dispatcher.start()
        return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; ends the process. Raises ConfigurationError before anything listens."""
    open_context(settings).close()  # whatever is wrong shows here, and not in a process that is started again
    os.environ.pop("SCRIPT_NAME", None)  # gunicorn would take it for the path that it is served under
    allow_many_files()
    limit_malloc_arenas()
    if doubt := unauthenticated_exposure(settings):
        logging.getLogger("cyberimage.server").warning(doubt)
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
        return EXIT_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())

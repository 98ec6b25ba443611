"""Runs the engine server of a model: python -m app.cli.engine_server MODEL_ID

Started and restarted by the supervisor, like a worker. The server's command knows nothing of CyberImage, so this
process ends it, and all that it has started, when the supervisor stops or dies.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from app.cli.common import EXIT_CONFIGURATION
from app.config import Settings, read_settings
from app.core.catalog_lines import engine_servers_in
from app.errors import ConfigurationError
from app.monitoring.logs import configure_logging
from app.process import parent_watch
from app.process.os_limits import keep_files_private

LOOK_SECONDS = 0.2
ORPHANED_GRACE_SECONDS = 3.0  # less than parent_watch.LAST_CHANCE_SECONDS
EXIT_NOT_STARTED = 127

log = logging.getLogger("cyberimage.supervisor")


def main(arguments: Sequence[str]) -> int:
    keep_files_private()
    stops: list[int] = []  # a list: a signal handler may take no lock
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: stops.append(number))
    orphaned = parent_watch.watch_parent()
    (model_id,) = arguments
    try:
        settings = read_settings().settings
        words = engine_servers_in(settings.model_lines)[model_id].words
    except (ConfigurationError, KeyError) as error:
        print(f"The engine server of {model_id} is not configured: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    configure_logging(settings, "run")
    try:
        server = subprocess.Popen(words, env=environment_for(settings, os.environ), start_new_session=True)
    except OSError as error:
        log.error("The engine server of %s cannot be started: %s: %s", model_id, words[0], error.strerror)
        return EXIT_NOT_STARTED
    while server.poll() is None and not stops:
        time.sleep(LOOK_SECONDS)
    _end(server, ORPHANED_GRACE_SECONDS if orphaned.is_set() else settings.shutdown_grace_seconds)
    return 0 if stops else max(0, server.returncode)


def environment_for(settings: Settings, ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment without our secrets, but for the token with which it downloads its model."""
    secret = {name.upper() for name in Settings.model_fields if isinstance(getattr(settings, name), SecretStr)}
    return {name: value for name, value in ours.items() if name == "HF_TOKEN" or name not in secret | {"DATABASE_URL"}}


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    """End the server's whole session: in order, then by force."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The start of everything: what `run.py` does."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from app.cli.supervisor import Supervisor, children_of
from app.cli.worker import EXIT_CONFIGURATION
from app.config import Read, Settings, read_settings
from app.core.configuration import read_configuration
from app.errors import ConfigurationError
from app.monitoring.logs import configure_logging
from app.monitoring.resources import gpu_count
from app.process.os_limits import keep_files_private
from app.process.pidfile import FILE, hold_pidfile, running_pid, signal_process
from app.services.ops.config_check import changes, warnings_for
from app.services.ops.preflight import startup_problems
from app.services.ops.private_files import protect_files

STOP_EXTRA_SECONDS = 15.0  # for what has to be written and closed

log = logging.getLogger("cyberimage.supervisor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the API and the workers and keep them running. Returns the exit status."""
    keep_files_private()
    asked = _parser().parse_args(arguments)
    # The environment, not only this process' settings: the children read it too.
    os.environ.update({name: value for name, value in vars(asked).items() if name.isupper() and value is not None})
    try:
        if asked.signal is not None:  # also when the settings are wrong by now
            return _tell(read_settings().settings, asked.signal)
        read = read_configuration()
    except ConfigurationError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    if asked.check:
        return _explain(read)
    settings = read.settings
    configure_logging(settings, "run")
    protect_files(settings)
    gpus = gpu_count()
    supervisor = Supervisor(children_of(settings, gpus=gpus), grace=settings.shutdown_grace_seconds)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: supervisor.stop())
    _heed_hangups(supervisor)
    log.info("CyberImage is starting on %s (%s)", settings.listens_on, f"{gpus} GPUs" if gpus else "CPU")
    for doubt in (*warnings_for(read), *startup_problems(settings)):
        log.warning(doubt)
    with hold_pidfile(settings.log_dir):
        return supervisor.run()


def _tell(settings: Settings, number: signal.Signals) -> int:
    """Stop or reload the run.py that runs already."""
    wait = settings.shutdown_grace_seconds + STOP_EXTRA_SECONDS if number is signal.SIGTERM else 0
    try:
        pid = signal_process(settings.log_dir, number, wait_seconds=wait)
    except OSError as error:  # not ours, or it does not end
        print(f"It could not be told: {error}", file=sys.stderr)
        return 1
    if pid is None:
        print(f"CyberImage is not running (nobody holds {settings.log_dir / FILE}).", file=sys.stderr)
        return 0 if number is signal.SIGTERM else 1
    print(f"Process {pid} {'has stopped' if wait else 'reads its settings again; its log tells which'}.")
    return 0


def _heed_hangups(supervisor: Supervisor) -> None:
    """SIGHUP reloads the settings; but when the terminal went away that this was started in, it is the end."""
    had_terminal = _has_terminal()

    def hear(*_: object) -> None:
        if had_terminal and not _has_terminal():
            supervisor.stop()
        else:
            supervisor.reload()

    signal.signal(signal.SIGHUP, hear)


def _has_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


def _explain(read: Read) -> int:
    """What differs from the defaults and why it matters, what is probably not meant, and what cannot work here."""
    wrong = [] if running_pid(read.settings.log_dir) else list(startup_problems(read.settings))
    for heading, lines in (
        ("Other than the defaults:", changes(read)),
        ("Worth a look:", warnings_for(read)),
        ("This cannot work here:", wrong),
    ):
        found = list(lines)
        if found:
            print(heading, *found, sep="\n  ", end="\n\n")
    if wrong:
        return EXIT_CONFIGURATION
    print("The configuration is fine.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Start CyberImage: the API and its workers.")
    parser.add_argument("--workers", dest="WORKERS", metavar="N", help="worker processes: auto, 0 or a number")
    parser.add_argument("--host", dest="HOST", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", dest="PORT", help="port to listen on (default 5050)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="check the configuration and explain it")
    for option, number, about in (
        ("--stop", signal.SIGTERM, "stop the one that runs: what is in work finishes or goes back"),
        ("--reload", signal.SIGHUP, "have the one that runs take over changed settings"),
    ):
        instead.add_argument(option, dest="signal", action="store_const", const=number, help=about)
    return parser

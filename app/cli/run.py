"""`cyberimage run`, and run.py: start the API and the workers, or signal those that run."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

import click

from app.cli.common import EXIT_CONFIGURATION, invoke
from app.cli.devices import device_plan
from app.cli.supervisor import Supervisor, children_of
from app.config import LoadedSettings, Settings, read_settings
from app.core.catalog_lines import engine_servers_in
from app.core.engine_devices import ServerPlan, with_engine_servers
from app.errors import ConfigurationError
from app.monitoring.logs import configure_logging
from app.process.os_limits import keep_files_private
from app.process.pidfile import FILE, hold_pidfile, running_pid, signal_process
from app.services.configuration import read_configuration
from app.services.ops.config_check import changes, warnings_for
from app.services.ops.preflight import startup_problems
from app.services.ops.private_files import protect_files

STOP_EXTRA_SECONDS = 15.0  # for what has to be written and closed

log = logging.getLogger("cyberimage.supervisor")


@click.command()
@click.option("--workers", metavar="N", help="Worker processes: auto, 0 or a number.")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", help="Port to listen on (default 5050).")
@click.option("--check", is_flag=True, help="Check the configuration and explain it; start nothing.")
@click.option("--stop", is_flag=True, help="Stop the one that runs: running jobs finish or go back to the queue.")
@click.option("--reload", is_flag=True, help="Have the one that runs take over changed settings.")
def command(check: bool, stop: bool, reload: bool, **options: str | None) -> int:
    """Start the API and its workers, and keep them running."""
    if check + stop + reload > 1:
        raise click.UsageError("--check, --stop and --reload exclude each other.")
    keep_files_private()
    # The environment, not only this process' settings: the children read it too.
    os.environ.update({name.upper(): value for name, value in options.items() if value is not None})
    try:
        if stop or reload:  # also when the settings are wrong by now
            return _signal(read_settings().settings, signal.SIGTERM if stop else signal.SIGHUP)
        read = read_configuration()
    except ConfigurationError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    return explain(read) if check else _start(read)


def main(arguments: Sequence[str] | None = None) -> int:
    """What run.py does with its arguments. Returns the exit status."""
    return invoke(command, arguments, "run.py")


def _start(read: LoadedSettings) -> int:
    settings = read.settings
    configure_logging(settings, "run")
    protect_files(settings)
    servers = _server_plan(settings)
    plan = servers.workers
    if plan.error:
        print("The configuration is wrong:", plan.error, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    supervisor = Supervisor(
        children_of(settings, plan, servers.environments),
        grace=settings.shutdown_grace_seconds,
        drain=settings.drain_seconds,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: supervisor.stop())
    _heed_hangups(supervisor)
    log.info("CyberImage is starting on %s (%s)", settings.listens_on, plan.described)
    for doubt in (*plan.notes, *warnings_for(read), *startup_problems(settings)):
        log.warning(doubt)
    with hold_pidfile(settings.log_dir):
        return supervisor.run()


def _signal(settings: Settings, number: signal.Signals) -> int:
    """Stop or reload the run.py that runs already."""
    wait = settings.shutdown_grace_seconds + STOP_EXTRA_SECONDS if number is signal.SIGTERM else 0
    try:
        pid = signal_process(settings.log_dir, number, wait_seconds=wait)
    except OSError as error:  # not ours, or it does not end
        print(f"Could not signal CyberImage: {error}", file=sys.stderr)
        return 1
    if pid is None:
        print(f"CyberImage is not running (no process holds {settings.log_dir / FILE}).", file=sys.stderr)
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


def explain(read: LoadedSettings) -> int:
    """Print what differs from the defaults, likely mistakes, and what cannot work here."""
    changed, warnings, errors = findings(read)
    for heading, lines in (
        ("Other than the defaults:", changed),
        ("Worth a look:", warnings),
        ("This cannot work here:", errors),
    ):
        if lines:
            print(heading, *lines, sep="\n  ", end="\n\n")
    if errors:
        return EXIT_CONFIGURATION
    print("The configuration is fine.")
    return 0


def _server_plan(settings: Settings) -> ServerPlan:
    return with_engine_servers(device_plan(settings), engine_servers_in(settings.model_lines))


def findings(read: LoadedSettings) -> tuple[list[str], list[str], list[str]]:
    """What differs from the defaults, warnings, and errors: while the service runs, the port is taken by it."""
    errors = [] if running_pid(read.settings.log_dir) else list(startup_problems(read.settings))
    plan = _server_plan(read.settings).workers
    errors += [plan.error] if plan.error else []
    return list(changes(read)), [*plan.notes, *warnings_for(read)], errors

"""`cyberimage worker`, and worker.py: one worker process."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import click

from app.cli.common import EXIT_CONFIGURATION, EXIT_DAMAGED, EXIT_UNAVAILABLE
from app.cli.devices import WorkerDevice, device_facts, worker_device
from app.cli.engine_settings import engine_settings
from app.config import Settings
from app.core.catalog import LANES
from app.engines.base import EngineFactory, EngineSettings
from app.engines.registry import engine_factories
from app.errors import ConfigurationError, DatabaseDamaged, DatabaseUnavailable
from app.monitoring.logs import configure_logging
from app.process import parent_watch
from app.process.os_limits import PRIVATE_UMASK, keep_files_private
from app.process.threads import exit_hard
from app.process.worker_id import new_suffix, worker_id
from app.services.configuration import read_configuration
from app.services.context import AppContext, open_context
from app.services.ops.preflight import require_media_store
from app.services.ops.private_files import protect_files
from app.worker.device_test import check_command, run_device_test
from app.worker.loop import Worker, device_id
from app.worker.plan_history import StoredPlanHistory
from app.worker.remote_worker import remote_worker

EXIT_RECYCLE = 75  # sysexits' EX_TEMPFAIL: start a fresh one
DEVICE_KIND = "CYBERIMAGE_DEVICE_KIND"  # set by the supervisor, which has seen the GPU: cuda, rocm, mps or xpu
_TORCH_KINDS = {"rocm": "cuda"}  # as torch calls it
WORKER_SUFFIX = "CYBERIMAGE_WORKER_SUFFIX"  # chosen by the supervisor, which names a dead worker by it
ORPHAN_GRACE_SECONDS = 1.0
REMOTE_GRACE_SECONDS = 2.0  # the next worker goes on where a remote job stood

MakeFactories = Callable[[EngineSettings], Mapping[str, EngineFactory]]

log = logging.getLogger("cyberimage.worker")


@click.command()
@click.option(
    "--lane",
    type=click.Choice(LANES),
    default="local",
    show_default=True,
    help="local: models in memory; remote: models of providers.",
)
@click.option("--once", is_flag=True, help="Run what waits in the queue, then exit.")
def command(lane: str, once: bool) -> int:
    """Run one worker until SIGTERM: it takes jobs from the queue. `cyberimage run` starts those that are needed."""
    return run_worker(lane, until_idle=once)


def process_waiting() -> int:
    """`cyberimage.process_queue`: what waits in the local lane, drawn in this process, whose logging and signals stay
    as they are; its umask is FILE_MODE's meanwhile, and variables for torch and huggingface_hub are added to its
    environment for good. Returns the number of jobs that were run. Raises ConfigurationError, DatabaseUnavailable, and
    RuntimeError when the device failed: its jobs are in the queue again."""
    umask = os.umask(PRIVATE_UMASK)
    try:
        settings = read_configuration().settings
        protect_files(settings)
        os.environ.update(settings.library_environment())
        device = _local_device(settings)
        with contextlib.closing(open_context(settings)) as context:
            require_media_store(context)
            worker = _local_worker(context, engine_factories, device, check_command, "")
            worker.run(until_idle=True)
    finally:
        os.umask(umask)
    if worker.device_failed:
        raise RuntimeError("The device failed. Its jobs wait in the queue; a new process has to go on with them.")
    return worker.jobs_run


def main(
    make_factories: MakeFactories = engine_factories,
    arguments: Sequence[str] = (),
    command_of: Callable[[str], Sequence[str]] = check_command,
) -> int:
    """What worker.py does with its arguments; tests pass engines of their own. Returns the exit status."""
    with command.make_context("worker.py", list(arguments)) as parsed:
        return run_worker(parsed.params["lane"], make_factories, command_of, until_idle=parsed.params["once"])


def run_worker(
    lane: str,
    make_factories: MakeFactories = engine_factories,
    command_of: Callable[[str], Sequence[str]] = check_command,
    *,
    until_idle: bool = False,
) -> int:
    """Run a worker until SIGTERM or SIGINT, or until the queue is empty. One of the local lane has the engines of
    `make_factories` and tests its device of a kind by the command that `command_of` returns. Returns the exit
    status."""
    keep_files_private()
    orphaned = parent_watch.watch_parent()
    try:
        settings = read_configuration().settings
        configure_logging(settings, "worker")
        protect_files(settings)
        os.environ.update(settings.library_environment())  # before anything imports torch or huggingface_hub
        device = _local_device(settings) if lane == "local" else None
        context = open_context(settings)
        require_media_store(context)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIGURATION
    except DatabaseUnavailable as error:
        log.error("Cannot start: %s", error.detail)
        return EXIT_DAMAGED if isinstance(error, DatabaseDamaged) else EXIT_UNAVAILABLE
    suffix = os.environ.pop(WORKER_SUFFIX, "") or new_suffix()
    worker = (
        _local_worker(context, make_factories, device, command_of, suffix)
        if device is not None
        else remote_worker(context, suffix)
    )
    grace = settings.shutdown_grace_seconds
    _stop_on_signals(worker, orphaned, min(grace, REMOTE_GRACE_SECONDS) if lane == "remote" else grace)
    recycle = worker.run(until_idle=until_idle)
    context.close()
    logging.shutdown()
    if worker.device_failed:
        exit_hard(EXIT_RECYCLE)  # torch would free its memory, which may hang or crash on a failed device
    return EXIT_RECYCLE if recycle else 0


def _local_device(settings: Settings) -> WorkerDevice:
    """The device of this process, and its environment set for torch. Raises ConfigurationError."""
    device = worker_device(settings)
    if _is_lost(device):  # its environment would hide the GPU from the device test, which waits for it to come back
        return device
    os.environ.update(device.plan.environment)
    if device.plan.reason:
        log.warning("This worker draws on the CPU: %s", device.plan.reason)
    return device


def _is_lost(device: WorkerDevice) -> bool:
    """Whether the GPU that the supervisor saw is there no more: then this must not become a CPU worker."""
    return device.plan.label == "cpu" and os.environ.get(DEVICE_KIND, "cpu") != "cpu"


def _local_worker(
    context: AppContext,
    make_factories: MakeFactories,
    device: WorkerDevice,
    command_of: Callable[[str], Sequence[str]],
    suffix: str,
) -> Worker:
    settings = context.settings
    kind = os.environ.get(DEVICE_KIND, device.plan.label)
    factories = make_factories(
        dataclasses.replace(
            engine_settings(settings, device, context.catalog),
            plan_history=StoredPlanHistory(context, worker_id(platform.node(), os.getpid(), suffix), device_id(kind)),
        )
    )
    return Worker(
        context,
        factories,
        kind,
        device_test=partial(run_device_test, command_of(_TORCH_KINDS.get(kind, kind))),
        suffix=suffix,
        facts=device_facts(device, kind),
        suspect=(device.plan.reason or "its driver reports no GPU any more") if _is_lost(device) else "",
    )


def _stop_on_signals(worker: Worker, orphaned: threading.Event, grace: float) -> None:
    """Have SIGTERM and SIGINT stop `worker`, a second one make it give its job back at once, and SIGHUP reload its
    settings.

    A thread hears of them, through a socket that the interpreter writes to at once. Python's own handlers would run in
    the main thread, which may be minutes deep in C code, or hold the very locks that stopping needs.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: None)

    def wait() -> None:
        told_to_stop = 0
        while told_to_stop < 2:
            number = heard.recv(1)[0]
            if number == signal.SIGHUP:
                worker.reload()
                continue
            told_to_stop += 1
            patience = ORPHAN_GRACE_SECONDS if orphaned.is_set() else grace
            worker.stop(patience if told_to_stop == 1 else 0)

    threading.Thread(target=wait, name="signals", daemon=True).start()

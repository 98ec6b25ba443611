"""The supervisor: starts the API and the workers as processes of their own, and a fresh one when one dies.

It runs no request and no generation, so nothing they do can take it down. When it dies itself, even by SIGKILL, its
children notice it through a pipe and stop.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.cli.worker import DEVICE_KIND, EXIT_CONFIGURATION, EXIT_RECYCLE, WORKER_SUFFIX
from app.config import CODE, ROOT, Settings
from app.core.backoff import Backoff
from app.core.catalog_lines import engine_servers_in
from app.core.deaths import Death
from app.core.device_plan import DevicePlan
from app.process import parent_watch
from app.process.oom import OomWatch
from app.process.worker_id import new_suffix, worker_id

LOOK_EVERY_SECONDS = 0.1
HEALTHY_AFTER_SECONDS = 10.0  # a child that lived this long starts again at once
STARTED_AFTER_SECONDS = 60.0  # a child that ended before, the first time, could not start: machines may be slow
RESTART = Backoff(first=0.5, longest=30.0)  # after the first restart, which is at once
KILL_AFTER_EXTRA_SECONDS = 5.0
API_GRACE_SECONDS = 10.0  # for requests under way, once the workers have ended

_ORDERLY = (0, EXIT_RECYCLE, EXIT_CONFIGURATION)  # it has given its jobs back, or never had any

log = logging.getLogger("cyberimage.supervisor")


@dataclass
class Child:
    """A process to keep running. `essential`: when its very first start fails, give up altogether.
    `runs_jobs`: a worker, whose death is recorded, so that its jobs are run again at once. `draws`: an engine server,
    which ends when the workers have. `serves`: the API, which goes on while all others end: SIGUSR1 announces its end,
    SIGTERM comes last."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    essential: bool = False
    runs_jobs: bool = False
    draws: bool = False
    serves: bool = False
    suffix: str = ""  # of the running process
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0


class Supervisor:
    """`grace`: seconds that the workers have to end; `drain`: how long the API answers at least after a stop."""

    def __init__(self, children: Sequence[Child], *, grace: float, drain: float = 0.0) -> None:
        self._children = children
        self._grace = grace
        self._drain = drain
        self._stopping = False
        self._reloading = False
        self._oom = OomWatch()
        self._recorders: list[subprocess.Popen[bytes]] = []
        self._watched_end, self._held_end = os.pipe()  # held open, never written
        self.exit_status = 0

    def run(self) -> int:
        """Keep the children running until `stop`; returns the exit status."""
        try:
            while not self._stopping:
                for child in self._children:
                    self._tend(child)
                self._pass_reload_on()
                self._oom.sample()
                self._recorders = [recorder for recorder in self._recorders if recorder.poll() is None]
                time.sleep(LOOK_EVERY_SECONDS)
        finally:
            self._stop_children()
        return self.exit_status

    def stop(self) -> None:
        """End soon. Takes no lock, so that a signal handler may call it."""
        self._stopping = True

    def reload(self) -> None:
        """Have the children read their settings anew, soon. For signal handlers, too."""
        self._reloading = True

    def _pass_reload_on(self) -> None:
        if self._reloading:
            self._reloading = False
            for child in self._children:
                if child.process is not None:
                    child.process.send_signal(signal.SIGHUP)

    def _tend(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.start_at:
                self._start(child)
            return
        status = child.process.poll()
        if status is None:
            return
        lived, pid = time.monotonic() - child.started_at, child.process.pid
        child.process = None
        if child.runs_jobs and status not in _ORDERLY:
            self._record_death(child, pid, Death(status, out_of_memory=self._oom.has_killed()))
        if child.failures == 0 and lived < STARTED_AFTER_SECONDS and _is_hopeless(child, status):
            log.error("%s could not start (exit status %s)", child.name, status)
            self.exit_status = status
            self.stop()
            return
        pause = self._back_off(child, healthy=lived >= HEALTHY_AFTER_SECONDS or status == EXIT_RECYCLE)
        log.warning("%s ended (exit status %s); starting it again in %.1f s", child.name, status, pause)

    def _record_death(self, child: Child, pid: int, death: Death) -> None:
        """Have a process of its own record it: a database that hangs must not keep the others from being restarted."""
        log.error("%s died: %s", child.name, death.sentence)
        command = record_command(worker_id(platform.node(), pid, child.suffix), death)
        try:
            self._recorders.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ}))
        except OSError as error:  # its leases expire by themselves
            log.error("The death of %s could not be recorded (%s)", child.name, error.strerror)

    def _back_off(self, child: Child, *, healthy: bool) -> float:
        child.failures = 1 if healthy else child.failures + 1
        pause = 0.0 if child.failures == 1 else RESTART.seconds(child.failures - 1)
        child.start_at = time.monotonic() + pause
        return pause

    def _start(self, child: Child) -> None:
        child.suffix = new_suffix()
        try:
            child.process = subprocess.Popen(
                child.command,
                cwd=ROOT,
                env={
                    **os.environ,
                    **child.environment,
                    WORKER_SUFFIX: child.suffix,
                    parent_watch.ENVIRONMENT_NAME: str(self._watched_end),
                },
                pass_fds=[self._watched_end],
                preexec_fn=_ignore_hangup,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops them in order
            )
        except OSError as error:  # no memory or no process left: the others must go on
            pause = self._back_off(child, healthy=False)
            log.error("Cannot start %s (%s); trying again in %.1f s", child.name, error.strerror, pause)
            return
        child.started_at = time.monotonic()
        log.info("Started %s, process %s", child.name, child.process.pid)

    def _stop_children(self) -> None:
        """Stop the workers first: meanwhile clients can follow their jobs, and proxies see that this server goes."""
        began = time.monotonic()
        running = [(child, child.process) for child in self._children if child.process is not None]
        serving = [process for child, process in running if child.serves]
        for process in serving:
            process.send_signal(signal.SIGUSR1)
        for draws in (False, True):
            ending = [process for child, process in running if not child.serves and child.draws is draws]
            for process in ending:
                process.send_signal(signal.SIGTERM)
            _wait_or_kill(ending, time.monotonic() + self._grace + KILL_AFTER_EXTRA_SECONDS)
        while time.monotonic() < began + self._drain and any(process.poll() is None for process in serving):
            time.sleep(LOOK_EVERY_SECONDS)
        for process in serving:
            process.send_signal(signal.SIGTERM)
        _wait_or_kill(serving, time.monotonic() + API_GRACE_SECONDS + KILL_AFTER_EXTRA_SECONDS)


def _wait_or_kill(processes: Sequence[subprocess.Popen[bytes]], give_up_at: float) -> None:
    """Wait for the end of each; one that has not ended at `give_up_at` is killed."""
    for process in processes:
        try:
            process.wait(max(0.0, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def record_command(worker: str, death: Death) -> Sequence[str]:
    """The command that records the death of a worker."""
    oom = ["oom"] if death.out_of_memory else []
    return [sys.executable, "-m", "app.cli.worker_death", worker, str(death.status), *oom]


def _ignore_hangup() -> None:
    """Until it can heed one: a child that is just starting must not die of a reload."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _is_hopeless(child: Child, status: int) -> bool:
    """Whether a first start that ended like this will not go better the next time. A signal came from outside."""
    return status == EXIT_CONFIGURATION or (child.essential and status > 0)


def children_of(
    settings: Settings, plan: DevicePlan, engine_servers: Mapping[str, Mapping[str, str]] | None = None
) -> list[Child]:
    """The API and the workers of the device plan. The worker of remote models runs besides them, wherever a provider or
    an engine server is set up. `engine_servers`: the environments of those that are started here, by model."""
    script = CODE / "worker.py"  # not in an installed package
    worker = (sys.executable, *((str(script),) if script.exists() else ("-m", "app.cli", "worker")))
    children = [Child("api", [sys.executable, "-m", "app.server.gunicorn_app"], essential=True, serves=True)]
    for number, each in enumerate(plan.workers, start=1):
        kind = {} if each.label == "cpu" else {DEVICE_KIND: each.label}
        children.append(Child(f"worker {number}", [*worker], {**each.environment, **kind}, runs_jobs=True))
    if settings.remote_concurrency and (settings.has_provider or engine_servers_in(settings.model_lines)):
        children.append(Child("remote worker", [*worker, "--lane", "remote"], runs_jobs=True))
    for model_id, environment in (engine_servers or {}).items():
        command = [sys.executable, "-m", "app.cli.engine_server", model_id]
        children.append(Child(f"engine server of {model_id}", command, environment, draws=True))
    return children

"""A crash test: clients send jobs to a service whose processes are killed and frozen; in the end all must be right."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.config import load_settings
from app.core.job import JobStatus
from app.errors import DatabaseUnavailable
from app.services.context import AppContext, open_context
from tests.e2e.crash.chaos import PAUSE_SECONDS, Chaos
from tests.e2e.crash.clients import Client, Memory
from tests.e2e.crash.hostility import Hostility
from tests.e2e.crash.machine import Machine
from tests.e2e.crash.verdict import find_faults, find_floods
from tests.ports import free_port
from tests.processes import Processes
from tests.waiting import PATIENCE

LEASE_SECONDS = 1.5
CLIENTS = 3
WORKERS = 3
LOOK_EVERY_SECONDS = 0.05
ENOUGH_WAITING = 100  # jobs: more would only make the end longer
PATIENCE_SECONDS = 90.0  # after the last blow: when no job ends for so long, none ever will
DRAIN_SECONDS = 1800.0  # in all
FAILPOINTS = (
    "after_claim=kill:0.02,mid_generation=kill:0.005,after_file_rename=kill:0.02,before_commit=stop:0.15,"
    "after_commit=kill:0.02"
)
MACHINE_FAILPOINTS = (
    "after_claim=kill:0.01,mid_generation=crash:0.003,before_write=fail:0.05,after_file_rename=slow:0.05,"
    "before_commit=stop:0.1,after_commit=kill:0.02"
)


@dataclass
class Report:
    """`faults` is empty when all is right."""

    faults: list[str] = field(default_factory=list)
    acknowledged: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    attempts: int = 0
    refused: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    machine: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"acknowledged {self.acknowledged} jobs, which took {self.attempts} attempts: {dict(self.statuses)}",
            *(f"{count:6} {what}" for what, count in sorted(self.blows.items())),
            f"{self.refused:6} completions of former owners refused",
            f"{sum(self.repeated.values()):6} requests repeated: {dict(self.repeated)}",
            *(f"{count:6} times {what}" for what, count in sorted(self.machine.items())),
            *(f"  none: {what}" for what in self.left_out),
            *(f"{count:6} hostile: {what}" for what, count in sorted(self.hostile.items())),
            f"{len(self.faults):6} faults",
            *(f"       {fault}" for fault in self.faults[:20]),
        ]
        return "\n".join(lines)


class CrashTest:
    """With `machine` there are faults of it, too: see machine.py. With `hostile` the API is not killed, for it has
    other troubles then: see hostility.py."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        mutant: bool = False,
        jobs_per_second: float = 15.0,
        hostile: bool = False,
        machine: Machine | None = None,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._machine = machine or Machine({})
        self._logs = folder / "logs"
        self._environment = {
            "PORT": str(free_port()),
            "DATABASE_URL": database_url,
            "IMAGES_DIR": str(folder / "images"),
            "VIDEOS_DIR": str(folder / "videos"),
            "LOG_DIR": str(folder / "logs"),
            "MODEL_CACHE_DIR": str(folder / "models"),
            "DISK_FLOOR_BYTES": "0",
            "OPENBLAS_NUM_THREADS": "1",  # a process with threads is no good to fork
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "HEARTBEAT_SECONDS": "0.3",
            "JOB_TIMEOUT_SECONDS": "30",
            "LOAD_TIMEOUT_SECONDS": "30",
            "WORKER_POLL_SECONDS": "0.3",
            "SYNC_TIMEOUT_SECONDS": "1",
            "MERGE_JOBS": "4",
            "MAX_ATTEMPTS": "100",  # killed attempts count too
            "DEFAULT_MODEL_ID": "fake",
            "MODEL_FAKE": 'fake;builtin;Fake;local;false;{"steps": {"min": 1, "max": 50, "default": 3}}',
        }
        self._refusals, roles = folder / "refusals", folder / "roles"
        roles.mkdir()
        failpoints = MACHINE_FAILPOINTS if machine else FAILPOINTS
        self._command = ("-m", "tests.e2e.crash.run_entry", str(WORKERS), failpoints, str(folder))
        self._command += ("mutant",) if mutant else ()
        self._processes = Processes(folder)
        self._supervisor = self._processes.start(*self._command, **self._environment)
        self._url = f"http://127.0.0.1:{self._environment['PORT']}"
        self._memory = Memory()
        self._clients = [Client(self._url, self._memory, jobs_per_second / CLIENTS) for _ in range(CLIENTS)]
        self._chaos = Chaos(lambda: self._supervisor.pid, roles, lease=LEASE_SECONDS, pause=pause, workers_only=hostile)
        self._hostility = Hostility(self._url, folder / "hostile") if hostile else None
        self._context: AppContext | None = None

    def run(self, seconds: float) -> Report:
        """Torment it for `seconds`, let it come to rest, and look at what is there."""
        try:
            self._wait_until_ready()
            settings = load_settings(self._environment, env_file=None)
            self._context = open_context(settings)
            self._torment(self._context, seconds)
            self._come_to_rest(self._context)
            return self._report(self._context)
        finally:
            self._chaos.bury()
            self._processes.close()
            if self._context is not None:
                self._context.close()
            self._machine.calm()

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + 60
        while time.monotonic() < give_up_at:
            try:
                if httpx.get(f"{self._url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"it did not get ready: {self._processes.said()[-3000:]}")

    def _torment(self, context: AppContext, seconds: float) -> None:
        for client in self._clients:
            client.start()
        if self._hostility is not None:
            self._hostility.start()
        stop_at = time.monotonic() + seconds
        while time.monotonic() < stop_at:
            self._chaos.look()
            self._machine.look()
            self._keep_supervised()
            with contextlib.suppress(DatabaseUnavailable):
                sated = context.jobs.count_pending() > ENOUGH_WAITING
                for client in self._clients:
                    client.sated = sated
            time.sleep(LOOK_EVERY_SECONDS)

    def _come_to_rest(self, context: AppContext) -> None:
        """Stop the clients, then wait until every job has ended and all workers are idle."""
        self._machine.calm()
        for client in self._clients:
            client.stop()
        if self._hostility is not None:
            self._hostility.stop()
        began = moved = time.monotonic()
        left_before: int | None = -1
        while time.monotonic() < min(began + DRAIN_SECONDS, moved + PATIENCE_SECONDS):
            self._chaos.calm()
            self._keep_supervised()
            left = _left(context)
            if left == 0:
                break
            if left != left_before:
                left_before, moved = left, time.monotonic()
            time.sleep(0.2)
        for client in self._clients:
            client.join(PATIENCE)
        self._supervisor.terminate()
        self._supervisor.wait(60)

    def _keep_supervised(self) -> None:
        """What systemd would do."""
        if self._supervisor.poll() is not None:
            self._supervisor = self._processes.start(*self._command, **self._environment)

    def _report(self, context: AppContext) -> Report:
        jobs = context.jobs.newest(list(JobStatus), limit=1_000_000)
        faults = find_faults(context, self._memory, other_clients=self._hostility is not None)
        faults += find_floods(self._logs)
        return Report(
            faults=faults + (self._hostility.faults if self._hostility is not None else []),
            hostile=self._hostility.done if self._hostility is not None else Counter(),
            acknowledged=len(self._memory.acknowledged()),
            statuses={status.value: count for status, count in context.jobs.counts().items() if count},
            attempts=sum(job.attempt for job in jobs),
            refused=len(self._refusals.read_text().splitlines()) if self._refusals.exists() else 0,
            blows=self._chaos.blows,
            repeated=self._memory.failures,
            machine=self._machine.done,
            left_out=self._machine.left_out,
        )


def _left(context: AppContext) -> int | None:
    """Jobs that have not ended; None while the database does not answer."""
    try:
        counts = context.jobs.counts()
    except DatabaseUnavailable:
        return None
    return counts[JobStatus.PENDING] + counts[JobStatus.PROCESSING]

"""Death and paralysis for the processes of a crash test, at random times."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.processes import family_of, is_gone

PAUSE_SECONDS = 0.5  # between two blows, on average


class Chaos:
    """`supervisor_pid` gives the supervisor's process id; `roles` is the folder in which its children leave their
    names. A frozen process goes on after `lease` seconds or some more. With `workers_only` the others are spared."""

    def __init__(
        self,
        supervisor_pid: Callable[[], int],
        roles: Path,
        *,
        lease: float,
        pause: float = PAUSE_SECONDS,
        workers_only: bool = False,
    ) -> None:
        self._roles = roles
        self._blows_at_others = 0 if workers_only else 1
        self._supervisor_pid = supervisor_pid
        self._lease = lease
        self._pause = pause
        self._seen: dict[int, psutil.Process] = {}
        self._frozen: dict[int, float] = {}  # pid → when it goes on
        self._strike_at = 0.0
        self.blows: Counter[str] = Counter()

    def look(self) -> None:
        """Learn of new processes, thaw those whose time has come, and strike when it is time."""
        self._take_stock()
        self._thaw(time.monotonic())
        if time.monotonic() >= self._strike_at:
            self._strike_at = time.monotonic() + self._pause * random.uniform(0.4, 1.6)
            self._strike()

    def calm(self) -> None:
        """Resume all processes, including those stopped at a failpoint."""
        self._take_stock()
        self._thaw(float("inf"))

    def bury(self) -> None:
        """End whatever is left of all that was ever seen."""
        self.calm()
        for process in self._seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _strike(self) -> None:
        what, act = random.choices(
            (("worker", self._kill), ("worker", self._freeze), ("api", self._kill), ("api", self._freeze)),
            weights=(10, 8, 2 * self._blows_at_others, self._blows_at_others),
        )[0]
        # Frozen ones are spared: what they do when they go on is what this is about.
        awake = [process for pid, process in self._seen.items() if pid not in self._frozen]
        victims = [process for process in awake if self._role_of(process) == what]
        if victims:
            act(random.choice(victims), what)
        if random.random() < 0.01 * self._blows_at_others:
            supervisor = self._seen.get(self._supervisor_pid())
            if supervisor is not None:
                self._kill(supervisor, "supervisor")

    def _kill(self, process: psutil.Process, what: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            self.blows[f"{what} killed"] += 1
            del self._seen[process.pid]

    def _freeze(self, process: psutil.Process, what: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
            self.blows[f"{what} frozen"] += 1

    def _take_stock(self) -> None:
        """Learn who is new and who is gone. Those that died without us died at a failpoint, or with their parent."""
        for process in family_of(self._supervisor_pid()):
            self._seen.setdefault(process.pid, process)
        for pid, process in list(self._seen.items()):
            if is_gone(process):
                del self._seen[pid]
                self._frozen.pop(pid, None)
                self.blows["died at a failpoint or with its parent"] += 1

    def _thaw(self, now: float) -> None:
        for pid, process in self._seen.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_STOPPED:
                    continue
                if self._frozen.setdefault(pid, time.monotonic() + self._lease * random.uniform(1.0, 2.5)) <= now:
                    process.send_signal(signal.SIGCONT)
                    del self._frozen[pid]
                    self.blows["went on after a freeze"] += 1

    def _role_of(self, process: psutil.Process) -> str:
        """The name it left, or that of its parent: the API serves from a child of its own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for pid in (process.pid, process.ppid()):
                with contextlib.suppress(FileNotFoundError):
                    return (self._roles / str(pid)).read_text()
        return ""

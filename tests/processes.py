"""Starts processes of the project, and ends those that were started, by their ids.

They are forked from one that has imported the libraries, where that makes no difference: tests/fork_server.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from app.config import ROOT
from tests.fork_server.client import ForkedProcess, can_fork, fork
from tests.waiting import PATIENCE, wait_until

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
Process = subprocess.Popen[bytes] | ForkedProcess


class Processes:
    """Starts processes; `close` ends them all. Their output goes to files in `folder`. `afresh`: each with an
    interpreter of its own, as users start them."""

    def __init__(self, folder: Path, *, afresh: bool = False) -> None:
        self.folder = folder
        self._afresh = afresh or "PROCESSES_AFRESH" in os.environ
        self._started: list[Process] = []

    def start(self, *command: str, **environment: str) -> Process:
        """Run `python <command>` in the project's folder, with `environment` and a few variables of this process."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with (self.folder / f"process-{len(self._started)}.txt").open("wb") as said:
            if not self._afresh and can_fork(command, environment):
                process: Process = fork(command, environment, kept, said.fileno())
            else:
                process = subprocess.Popen(
                    [sys.executable, *command],
                    cwd=ROOT,
                    env=kept | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._started.append(process)
        return process

    def start_worker(self, environment: Mapping[str, str], *arguments: str) -> Process:
        return self.start("-m", "tests.worker.fake_worker", *arguments, **environment)

    def said(self) -> str:
        """The output of all processes so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("process-*.txt")))

    def close(self) -> None:
        for process in self._started:
            family = family_of(process.pid) if process.poll() is None else []
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait(PATIENCE)


def family_of(pid: int) -> list[psutil.Process]:
    """The process and its descendants."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended; zombies count as ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: all(is_gone(process) for process in processes), f"still there: {processes}")

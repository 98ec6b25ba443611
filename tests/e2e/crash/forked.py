"""Processes that are forked instead of started: no interpreter to begin, nothing to import, so a killed one is back at
once, and blows fall on work instead of on start-up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn


class ForkedProcess:
    """What the supervisor uses of `subprocess.Popen`. `command` is a name in `mains`; `roles` is a folder in which each
    process leaves a file `<pid>` that holds its name; `not_theirs` are descriptors that the parent keeps to itself."""

    mains: Mapping[str, Callable[..., int]]
    roles: str
    not_theirs: Sequence[int] = ()

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], **_: object) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._become(command[0], command[1:], env)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        give_up_at = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() >= give_up_at:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _become(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
        status = 1
        try:
            os.setsid()
            for descriptor in self.not_theirs:
                os.close(descriptor)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(environment)
            random.seed()  # or all of them would throw the same dice
            with open(os.path.join(self.roles, str(os.getpid())), "w") as role:
                role.write(name)
            status = self.mains[name](*arguments)
        except SystemExit as asked:
            status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        except BaseException:  # noqa: BLE001 - it must not return into the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

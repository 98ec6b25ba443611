"""How a worker process died, in words: the cause, and what to do about it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from app.process.threads import EXIT_BROKEN, EXIT_STUCK

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP})
_SENTENCES = {
    "out_of_memory": "it was killed by the kernel for lack of memory: choose a smaller model, a narrower dtype or"
    " quantization, close other programs, or give this machine or container more RAM",
    "killed": "it was killed from outside by {signal}: look at what sends it, such as a service manager, a container's"
    " limit or an administrator",
    "crashed": "it crashed in native code by {signal}: the worker's output has the stack; update the driver and torch,"
    " or try another model or attention",
    "stuck": "it did not answer past the time limit and was ended: raise JOB_TIMEOUT_SECONDS"
    " or LOAD_TIMEOUT_SECONDS if the job is only slow",
    "broken": "one of its own threads failed: errors.log has the error",
    "exited": "it ended with exit status {status}: errors.log and the worker's output say why",
}
CAUSES = tuple(_SENTENCES)


@dataclass(frozen=True)
class Death:
    """`status` is as `subprocess` has it: negative for a signal. `out_of_memory`: the kernel has just killed a process
    for lack of memory."""

    status: int
    out_of_memory: bool = False

    @property
    def cause(self) -> str:
        """A stable word: out_of_memory, killed, crashed, stuck, broken or exited."""
        if -self.status == signal.SIGKILL and self.out_of_memory:
            return "out_of_memory"
        if self.status < 0:
            return "crashed" if -self.status in _CRASHES else "killed"
        return {EXIT_STUCK: "stuck", EXIT_BROKEN: "broken"}.get(self.status, "exited")

    @property
    def sentence(self) -> str:
        return _SENTENCES[self.cause].format(signal=_signal_name(-self.status), status=self.status)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"

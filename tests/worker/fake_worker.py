"""A worker process with a fake engine. The prompt selects a job's behaviour, the arguments other faults.

python -m tests.worker.fake_worker [stop_grace=SECONDS] [last_chance=SECONDS] [gate=FILE]
                                   [breaks=heartbeat|publisher|loop]
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from app.core import job
from app.process import parent_watch


def main(arguments: list[str]) -> int:
    asked = dict(argument.split("=", 1) for argument in arguments)
    job.STOP_GRACE_SECONDS = float(asked.get("stop_grace", job.STOP_GRACE_SECONDS))  # before it is imported
    parent_watch.LAST_CHANCE_SECONDS = float(asked.get("last_chance", parent_watch.LAST_CHANCE_SECONDS))

    from app.cli.worker import main as run_worker
    from app.errors import OutOfMemory
    from app.worker import heartbeat, loop, publisher, watchdog
    from tests.waiting import wait_until
    from tests.worker.fake_engine import FakeEngine, fails

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken on purpose")

    def deadly(_: Any) -> None:
        time.sleep(1.0)  # what was drawn before it is saved by now
        os.kill(os.getpid(), signal.SIGKILL)

    watchdog.INTERPRETER_GRACE_SECONDS = 0.5
    breaks = asked.get("breaks")
    if breaks == "heartbeat":
        heartbeat.Heartbeat._tick = broken  # type: ignore[method-assign]
    elif breaks == "publisher":
        publisher.Publisher._publish = broken  # type: ignore[method-assign]
    elif breaks == "loop":
        loop.Worker._run_next = broken  # type: ignore[method-assign]

    engine = FakeEngine()
    engine.behaviours = {
        "hang": lambda _: time.sleep(600),
        "hang in C": lambda _: ctypes.PyDLL(None).sleep(600),  # never releases the GIL
        "huge": fails(OutOfMemory("The memory ran out.")),
        "deadly": deadly,
        "a while": lambda _: time.sleep(1.0),
        "until the gate opens": lambda _: wait_until(Path(asked["gate"]).exists, "the gate never opened"),
    }
    return run_worker(lambda _: {"local": lambda: engine})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

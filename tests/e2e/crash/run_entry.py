"""The supervisor of a crash test: the real one, in a hurry, whose children are forked from it and come back at once.

python -m tests.e2e.crash.run_entry WORKERS FAILPOINTS FOLDER [mutant]

The children are the real API and the real worker, with an engine that needs no weights. They leave their names in
FOLDER/roles, and a line in FOLDER/refusals for every completion that came too late. A `mutant` has no fence.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from tests.e2e.crash.clock import follow
from tests.e2e.crash.hurry import hurry
from tests.e2e.crash.mutant import remove_fence


def main(workers: str, failpoints: str, folder: str, *rest: str) -> int:
    if rest == ("mutant",):
        remove_fence()
    hurry()
    follow(Path(folder, "clock"))
    from app.cli import supervisor, worker_death
    from app.cli.worker import main as run_worker
    from app.config import load_settings
    from app.monitoring.failpoints import ENVIRONMENT_NAME
    from app.monitoring.logs import configure_logging
    from app.server import gunicorn_app
    from tests.e2e.crash.forked import ForkedProcess
    from tests.e2e.crash.worker_parts import make_engine, note_refusals

    note_refusals(Path(folder, "refusals"))
    configure_logging(load_settings(), "run")
    children = [supervisor.Child("api", ["api"], essential=True)]
    children += [
        supervisor.Child(f"worker {number + 1}", ["worker"], {ENVIRONMENT_NAME: failpoints}, runs_jobs=True)
        for number in range(int(workers))
    ]
    supervisor.HEALTHY_AFTER_SECONDS = supervisor.STARTED_AFTER_SECONDS = 0.0
    supervisor.subprocess = SimpleNamespace(Popen=ForkedProcess, TimeoutExpired=subprocess.TimeoutExpired)
    running = supervisor.Supervisor(children, grace=5.0)
    command = supervisor.record_command
    supervisor.record_command = lambda worker, death: ["death", *command(worker, death)[3:]]
    ForkedProcess.mains = {
        "api": gunicorn_app.main,
        "worker": lambda: run_worker(lambda _: {"local": make_engine}),
        "death": lambda *arguments: worker_death.main(arguments),
    }
    ForkedProcess.roles = str(Path(folder, "roles"))
    ForkedProcess.not_theirs = [running._held_end]
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    return running.run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

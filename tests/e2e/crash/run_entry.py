"""The supervisor of a crash test: the real one, which starts its children again at once however young they died.

python -m tests.e2e.crash.run_entry WORKERS FAILPOINTS REFUSALS [mutant]
"""

from __future__ import annotations

import signal
import sys

from app.config import load_settings
from app.monitoring.failpoints import ENVIRONMENT_NAME
from app.monitoring.logs import configure_logging
from app.worker import supervisor
from app.worker.supervisor import Child, Supervisor


def main(workers: str, failpoints: str, *for_workers: str) -> int:
    supervisor.HEALTHY_AFTER_SECONDS = 0.0
    configure_logging(load_settings(), "run")
    command = [sys.executable, "-m", "tests.e2e.crash.worker_entry", *for_workers]
    children = [Child("api", [sys.executable, "-m", "tests.e2e.crash.api_entry"], essential=True)]
    children += [Child(f"worker {n + 1}", command, {ENVIRONMENT_NAME: failpoints}) for n in range(int(workers))]
    running = Supervisor(children, grace=5.0)
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    return running.run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

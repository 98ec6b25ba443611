"""When the supervisor dies, even by SIGKILL, its children stop."""

from __future__ import annotations

from app.core.job import JobStatus
from tests.processes import Processes, family_of, wait_gone
from tests.waiting import PATIENCE, wait_until
from tests.worker.harness import Harness

SUPERVISE = """
import sys
from app.cli.supervisor import Child, Supervisor
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); from app.process import parent_watch;"
deaf += "parent_watch.LAST_CHANCE_SECONDS = 0.5; parent_watch.hold(); time.sleep(600)"
worker = ["-m", "tests.worker.fake_worker", "last_chance=2"]
children = [Child("deaf", [sys.executable, "-c", deaf]), Child("worker", [sys.executable, *worker])]
sys.exit(Supervisor(children, grace=20).run())
"""


def test_no_process_is_left_when_the_supervisor_is_killed(harness: Harness, processes: Processes) -> None:
    job_id = harness.submit("hang")
    supervisor = processes.start("-c", SUPERVISE, **harness.environment)
    harness.until(job_id, lambda view: view.job.status is JobStatus.PROCESSING)
    wait_until(lambda: len(family_of(supervisor.pid)) == 3, "not all of them started")
    family = family_of(supervisor.pid)
    supervisor.kill()
    supervisor.wait(PATIENCE)
    wait_gone(family)

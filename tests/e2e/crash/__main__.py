"""A long crash test, with figures: python -m tests.e2e.crash --minutes 10 --database sqlite"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.e2e.crash.chaos import PAUSE_SECONDS
from tests.e2e.crash.databases import KINDS, empty_database
from tests.e2e.crash.harness import CrashTest
from tests.e2e.crash.with_machine import run_with_faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.crash", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--jobs-per-second", type=float, default=15.0)
    parser.add_argument("--pause", type=float, default=PAUSE_SECONDS, help="seconds between two blows, on average")
    parser.add_argument("--mutant", action="store_true", help="without the fence: it must find faults")
    parser.add_argument("--hostile", action="store_true", help="beside hostile clients, whom the API must outlive")
    parser.add_argument("--machine", action="store_true", help="with faults of disks, database, locks and clocks")
    asked = parser.parse_args()
    if asked.machine:
        with tempfile.TemporaryDirectory(prefix="cyberimage-chaos-") as name:
            report = run_with_faults(Path(name), asked.database, asked.minutes * 60, asked.jobs_per_second, asked.pause)
        sys.stdout.write(f"{report}\n")
        return 1 if report.faults else 0
    with tempfile.TemporaryDirectory(prefix="cyberimage-crash-") as name:
        folder = Path(name)
        with empty_database(asked.database, folder) as url:
            options = {name: getattr(asked, name) for name in ("mutant", "hostile", "jobs_per_second", "pause")}
            report = CrashTest(folder, url, **options).run(asked.minutes * 60)
    sys.stdout.write(f"{report}\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
